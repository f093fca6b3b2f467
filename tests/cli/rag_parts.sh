#!/bin/bash
# rag index --shard, merge, verify, diff, export.
. "$(dirname "$0")/lib.sh"

mkdir -p tree/{a,a-b,z}
for n in $(seq 60); do echo "document $n about topic$((n % 7)) and word$n, refund policy number $n" >"tree/$([ $((n % 3)) = 0 ] && echo a || echo z)/f$n.md"; done
works 'ok  indexed 60 docs' rag index ./tree --name whole

# four parts in four processes
for i in 1 2 3 4; do "$BUILD/bin/kolm" rag index ./tree --name whole --shard $i/4 >"part$i.out" 2>&1 & done
wait
for i in 1 2 3 4; do grep -q 'ok  indexed 15 docs' "part$i.out" || bad "part $i: $(cat "part$i.out")"; done
run rag merge joined whole.3-4 whole.1-4 "$S/rag/whole.4-4" whole.2-4; ends 0
says 'ok  merged 4 parts: 60 docs'; says "$T/tree"
cmp "$S/rag/whole/index.bin" "$S/rag/joined/index.bin" || bad "the merged index has other bytes"
# as many as a cluster has tasks
for i in $(seq 20); do works 'docs' rag index ./tree --name whole --shard $i/20; done
run rag merge joined $(seq -f 'whole.%g-20' 20); ends 0; says 'ok  merged 20 parts: 60 docs'
cmp "$S/rag/whole/index.bin" "$S/rag/joined/index.bin" || bad "twenty parts make other bytes"
fails 4 'the parts overlap' rag merge joined whole.1-4 whole.1-4
fails 4 "cannot open part 'nowhere'" rag merge joined nowhere
cmp "$S/rag/whole/index.bin" "$S/rag/joined/index.bin" || bad "a failed merge changed the index"
for other in '--ext md,txt' '--max-bytes 1000'; do
	# shellcheck disable=SC2086
	works 'ok  indexed 15 docs' rag index ./tree --name other --shard 2/4 $other
	fails 4 'part 2 was made with other ext or max-bytes' rag merge mixed whole.1-4 other.2-4
done
fails 1 "shard: '5/4' is not I/N" rag index ./tree --shard 5/4

# the proof: checksums, and the folder once more
works 'ok  whole is what' rag verify whole
echo 'something else' >tree/a/f3.md
rm tree/z/f1.md
echo 'quite new zebra' >tree/z/f99.md
fails 4 '1 files changed, 1 new, 1 gone; index it again' rag verify whole
works 'ok  indexed 60 docs' rag index ./tree --name now
run rag diff whole now; ends 0
says_line '~ doc  a/f3.md'; says_line '- doc  z/f1.md'; says_line '+ doc  z/f99.md'; says_line '+ term zebra  0 -> 1'; says_like '^~ term refund  60 -> 58$'
says_like '^docs: 1 changed, 1 new, 1 gone; terms: '
works 'docs: 0 changed, 0 new, 0 gone; terms: 0 changed, 0 new, 0 gone' rag diff now now
works 'ok  now is what' rag verify now
printf 'X' | dd of="$S/rag/now/index.bin" bs=1 seek=4200 conv=notrunc status=none
fails 4 'section STORE of index.bin does not match its checksum' rag verify now
# an index that cannot be opened is listed as that
mkdir "$S/rag/broken" && for f in index.bin index.json manifest.json; do echo damaged >"$S/rag/broken/$f"; done
run rag list; ends 0; says_like '^broken +index "broken" is damaged: '
run rag list --json; ends 0; [ "$(jq -r '.[] | select(.error) | .name' <<<"$OUT")" = broken ] || bad "rag list --json"
[ "$(jq 'map(select(.n_docs)) | length' <<<"$OUT")" -ge 4 ] || bad "rag list --json: the good ones"
rm -r "$S/rag/broken"

# for a cluster
mkdir out
works 'ok wrote whole.mapping.json and whole.bulk.ndjson' rag export whole --format opensearch --out out
sum=$(cat out/* | sha256sum)
OUT=$(ulimit -f 4; "$BUILD/bin/kolm" rag export whole --format opensearch --out out 2>"$T/.err"); RC=$?; ERR=$(cat "$T/.err"); LAST='rag export, 4 KiB a file at most'
ends 4; errs 'nothing was changed'
[ "$(cat out/* | sha256sum)" = "$sum" ] && [ "$(ls -A out | wc -l)" = 2 ] || bad "a failed export left $(ls -A out)"
[ "$(wc -l <out/whole.bulk.ndjson)" = 120 ] || bad "bulk lines: $(wc -l <out/whole.bulk.ndjson)"
jq -e '.settings.index.similarity.default == {"type":"BM25","k1":1.5,"b":0.75} and (.settings.analysis.filter.kolm_stop.stopwords | length) == 38' out/whole.mapping.json >/dev/null || bad "mapping"
[ "$(sed -n 2p out/whole.bulk.ndjson | jq -r .path)" = a/f12.md ] || bad "bulk: $(sed -n 2p out/whole.bulk.ndjson)"
jq -es 'length == 120' out/whole.bulk.ndjson >/dev/null || bad "bulk is not JSON"
[ "$(sed -n 1p out/whole.bulk.ndjson)" = '{"index":{"_index":"whole","_id":"0"}}' ] || bad "bulk: $(sed -n 1p out/whole.bulk.ndjson)"
for name in Big_Tree:big_tree _Tree:kolm_tree; do
	works 'ok  indexed 60 docs' rag index ./tree --name "${name%:*}"
	works 'ok wrote' rag export "${name%:*}" --format opensearch --out out
	[ "$(jq -rs 'map(.index._index // empty) | unique | join(" ")' "out/${name%:*}.bulk.ndjson")" = "${name#*:}" ] || bad "$name: $(head -n 1 "out/${name%:*}.bulk.ndjson")"
done
fails 1 '--format opensearch' rag export whole
finish
