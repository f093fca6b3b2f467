#!/bin/bash
# Every tool of the matrix over every listed file.
ALL=1 exec bash "$(dirname "$0")/../mount/tool-matrix.sh"
