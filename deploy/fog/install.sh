#!/usr/bin/env bash
# The fog server as a service on this machine; --help lists the options.
exec "$(dirname "$0")/../install.sh" fog "$@"
