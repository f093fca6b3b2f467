#!/bin/bash
# The bar of `kolm rag index`: on a terminal files, MB/s and the time left, gone when the answer comes; no byte of it in a pipe.
. "$(dirname "$0")/lib.sh"

# 400 documents of $1 bytes
texts() {
	rm -rf tree
	python3 - "$1" <<-'END'
	import os, random, sys
	rnd = random.Random(7)
	table = bytes(ord(c) for c in (' ' * 48 + 'etaoinsr' * 24 + 'dlcumfpg')[:256].ljust(256, 'x'))
	os.mkdir('tree')
	for i in range(400):
	    open('tree/d%03d.md' % i, 'wb').write(rnd.randbytes(int(sys.argv[1])).translate(table))
	END
}
# it tells once in 0.9 seconds: texts that take so long on this machine
seen=
for bytes in 30000 90000 270000; do
	texts $bytes
	rm -rf "$S/rag"
	OUT=$(paint -- rag index ./tree --name docs --mode kolm-2) RC=0 LAST="kolm rag index on a terminal, 400 documents of $bytes bytes"
	grep -qE '\|\^\[K\[[#.]{24}\] [1-9][0-9]* of 400 files [0-9.]+ MB/s [0-9]+ s left' <<<"$OUT" && seen=1 && break
done
[ -n "$seen" ] || bad "no bar with files, MB/s and the time left"
# the last that is drawn is taken back, and what follows begins a clean line
last=${OUT##*|^\[K}
[[ $last == 'ok  indexed '* ]] || bad "the bar stays: '${last:0:200}'"
rm -rf "$S/rag"
run rag index ./tree --name docs --mode kolm-2; ends 0
says 'ok  indexed '
case $OUT$ERR in *$'\r'* | *$'\033'* | *'MB/s'*) bad "a pipe got the bar" ;; esac
finish
