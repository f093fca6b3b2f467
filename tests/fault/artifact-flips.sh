#!/bin/bash
# Every cut and every bit of every byte of two small artifacts, one flipped at a time: refused with a sentence, or every entry's name, order and bytes are unchanged
# (BAD-INPUTS C03, C04). make check flips one bit a byte.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build} SHARED=${SHARED:-$PWD/../shared}
COMPAT=$SHARED/data/compat
[ -d "$COMPAT" ] || { echo "skipped: no conformance data"; exit 77; }
make --no-print-directory "${BUILD#"$PWD"/}/test/artifact_open" >/dev/null || exit 1
FLIPS=all SHARED=$SHARED timeout 1100 "$BUILD/test/artifact_open" -j1 --filter 'hostile/c0[34]*' || exit 1
echo "ran: every cut and every flipped byte"
