#!/bin/bash
# Where a server goes and how it is started, with a server that is stopped for a minute.
STOP_SEC=60 exec bash "$(dirname "$0")/../mount/place.sh"
