#!/bin/bash
# What a recipe sees as lib.rag is the index its sidecar names, as it is now: another name, the same name built anew, removed, detached. Only the sidecar is ever written.
. "$(dirname "$0")/lib.sh"

cat >look.spec.json <<'END_SPEC'
{"job_id":"job_look","task":"t","base_model":"none","recipes":[{"id":"r","name":"n","source":"function generate(q, lib) { return lib.rag ? lib.rag.query(q, 1).matches.map((m) => m.path).join() : 'no index'; }"}],
"evals":{"cases":[{"id":"a","input":"fee","expected":"no index"}]},"training_stats":{"latency_p50_us":60}}
END_SPEC
run compile --spec look.spec.json --out look.kolm; ends 0
sum=$(sha256sum <look.kolm)
mkdir one two
echo 'the fee is nine euro' >one/a.txt; echo 'the fee is ten euro' >two/b.txt
run rag index "$T/one" --name one; ends 0
run rag index "$T/two" --name two; ends 0
sees() { run run look.kolm fee --force; ends 0; [ "$OUT" = "$1" ] || bad "the recipe saw '$OUT', not '$1'"; [ "$(sha256sum <look.kolm)" = "$sum" ] || bad "the artifact changed"; }
sees 'no index'
run rag attach look.kolm --index one; ends 0; sees a.txt
run rag attach look.kolm --index two; ends 0; sees b.txt
mv two/b.txt two/c.txt; run rag index "$T/two" --name two; ends 0; sees c.txt
works 'verdict:' verify look.kolm --strict
fails 4 'index "nowhere" not found' rag attach look.kolm --index nowhere; sees c.txt
rm -r "$S/rag/two"; fails 4 'index "two" not found' run look.kolm fee --force
echo '{"spec":"rag-attach-1","index_name":"../../etc","attached_at":"x"}' >look.kolm.rag.json; fails 4 'sidecar' run look.kolm fee --force; [ -z "$OUT" ] || bad "a sidecar led out of the store: $OUT"
run rag attach look.kolm --index one; ends 0; sees a.txt
# a recipe that asks for ever has its second like any other, however long the answers take
mkdir many; for i in $(seq 300); do echo "the fee of place $i is $i euro" >"many/$i.txt"; done
run rag index "$T/many" --name many; ends 0
sed 's/"source":".*"}\]/"source":"function generate(q, lib) { for (;;) lib.rag.query(q, 1000); }"}]/; s/job_look/job_ever/' look.spec.json >ever.spec.json
run compile --spec ever.spec.json --out ever.kolm --allow-below-gate; ends 0
run rag attach ever.kolm --index many; ends 0
SECONDS=0; fails 4 'recipe stopped after 1000 ms' run ever.kolm fee --force; [ $SECONDS -lt 8 ] || bad "it ran for $SECONDS s"
# an answer too large for a frame is an exception of the recipe, and its cell is not left in the middle of the call: one runner serves both questions
deep=$(printf 'd%.0s' {1..250}); deep=$T/deep/$deep/$deep/$deep/$deep/$deep/$deep/$deep/$deep/$deep/$deep
mkdir -p "$deep"; for i in $(seq 1000); do echo "the fee is $i" >"$deep/$i.txt"; done
run rag index "$T/deep" --name deep; ends 0
sed 's/"source":".*"}\]/"source":"function generate(q, lib) { try { return lib.rag.query(q, 1000).matches.length } catch (e) { return e.message } }"}]/; s/job_look/job_deep/
s/{"id":"a",.*"no index"}/{"id":"a","input":"fee","expected":"answer larger than 2 MiB; ask for less"},{"id":"b","input":"nothing","expected":0}/' look.spec.json >deep.spec.json
run compile --spec deep.spec.json --out deep.kolm --allow-below-gate; ends 0
run rag attach deep.kolm --index deep; ends 0
run eval deep.kolm; ends 0; says '2 / 2'
run rag detach look.kolm; ends 0; sees 'no index'; [ ! -e look.kolm.rag.json ] || bad "the sidecar is left"
finish
