#!/bin/bash
# mem= of an index is kept: private memory (mapped files not counted) stays below it in both modes where a table of the words would be several times as large, and the bytes are those of a build with much memory.
. "$(dirname "$0")/lib.sh"
case $BUILD in *-san) skip "the sanitizers' own memory is many times as large" ;; esac
M=16777216

python3 - "$T/tree" <<'END'
import os, random, sys
rnd = random.Random(7)
table = bytes(ord(c) for c in (' ' * 48 + 'etaoinsr' * 24 + 'dlcumfpg')[:256].ljust(256, 'x'))
for i in range(450):
    folder = '%s/t%02d' % (sys.argv[1], i // 100)
    os.makedirs(folder, exist_ok=True)
    with open('%s/d%04d.txt' % (folder, i), 'wb') as f:
        f.write(rnd.randbytes(32768).translate(table))
END
# index OUT FLAGS...: status, wall, processor, peak, private KiB
index() {
	mkdir -p "$1/x"
	# shellcheck disable=SC2068
	python3 "$ROOT/tests/bench/cost.py" "$BUILD/bin/kolm-indexer" --name x --root "$T/tree" --out "$1/x" --index-path /x/index.json ${@:2} 2>"$T/log"
}
for mode in rag-bm25-1 kolm-2; do
	read -r RC _ _ _ private < <(index "$T/$mode.little" --mode $mode --mem $M --threads 3)
	LAST="mem=$M, $mode: $private KiB private"
	ends 0
	[ "$((private * 1024))" -le $M ] || bad "more than mem="
	[ "$private" -gt 2048 ] || bad "nobody looked"
	read -r RC _ _ _ private < <(index "$T/$mode.much" --mode $mode --mem $((M * 64)))
	LAST="mem=$((M * 64)), $mode: $private KiB private"
	ends 0
	[ "$((private * 1024))" -gt $((3 * M)) ] || bad "the texts are too small for this test"
	cmp "$T/$mode.much/x/index.bin" "$T/$mode.little/x/index.bin" || bad "other bytes"
done
finish
