"""One gRPC call on an HTTP/2 connection of its own, over plain sockets, for streams of windows.

It is gRPC on the wire (HTTP/2, RFC 9113; gRPC over HTTP/2), so the other side may be any server or
client of gRPC. A connection carries one call. That leaves little to do for a message: a header of
14 bytes goes before it, and the thread that waits for the next one reads it from the socket. With
grpcio a message changes threads and is copied several times on each side, which costs more than the
network and the tail of a small model together.
"""
