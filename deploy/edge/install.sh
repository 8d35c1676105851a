#!/usr/bin/env bash
# The edge agent as a service on this machine; --help lists the options.
exec "$(dirname "$0")/../install.sh" edge "$@"
