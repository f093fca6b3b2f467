#!/bin/bash
# Every row of the bad-input tables, not a sample: by the command line; through a mount, as the tenth command on a handle and from 32 clients at once.
ALL=1 bash "$(dirname "$0")/../cli/bad.sh" || exit 1
ALL=1 exec bash "$(dirname "$0")/../mount/bad-input.sh"
