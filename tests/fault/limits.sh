#!/bin/bash
# The limits with 100,000 query names.
ALL=1 exec bash "$(dirname "$0")/../mount/limits.sh"
