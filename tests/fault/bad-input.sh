#!/bin/bash
# Every row of the bad-input table, not a sample, as the tenth command on a handle and from 32 clients at once.
ALL=1 exec bash "$(dirname "$0")/../mount/bad-input.sh"
