#!/bin/bash
# Every way to write a command, with the shells that only check-fault installs.
ALL=1 exec bash "$(dirname "$0")/../mount/writers.sh"
