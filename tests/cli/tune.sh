#!/bin/bash
# The loop as it is typed in the issue: init, capture, corrected rows, step, eval, promote, rollback; a refused promotion; rows looked at by a person.
. "$(dirname "$0")/lib.sh"

[ -f "$MODEL" ] || skip "no base model at $MODEL (make model)"
cat >kind.spec.json <<'END'
{"job_id":"job_kind","task":"fruit or animal","base_model":"none","recipes":[{"id":"rcp_kind","name":"kind",
"source":"function generate(i, lib) { if (!lib.lm) return 'no model'; return lib.lm.choose('Is this a fruit or an animal? ' + i, ['fruit', 'animal']); }"}],
"evals":{"cases":[{"id":"a","input":"plum","expected":"fruit"},{"id":"b","input":"otter","expected":"animal"},{"id":"c","input":"fig","expected":"fruit"},{"id":"d","input":"crow","expected":"animal"}]}}
END
run compile --spec kind.spec.json --out kind.kolm; ends 2; errs 'K_GATE'
works 'built:' compile --spec kind.spec.json --out kind.kolm --allow-below-gate
mkdir tmp
TMPDIR=$T/tmp works 'evals:' compile --spec kind.spec.json --out based.kolm --allow-below-gate --base "$MODEL"
[ -z "$(ls tmp)" ] || bad "the bench left a folder"
sum=$(sha256sum kind.kolm)

fails 3 'base model not found' tune init --artifact kind.kolm --base ./nothing.gguf
fails 4 'airgap: base must be a local path' tune init --artifact kind.kolm --base https://example.org/model
fails 4 'airgap: base must be a local path' tune init --artifact kind.kolm --base org/model
run tune init --artifact kind.kolm --base "$MODEL" --rank 8 --alpha 16; ends 0; says_line 'ok wrote skeleton v0 (zero-init, identity to base)'
works 'ok initialised already, HEAD = v0' tune init --artifact kind.kolm --base "$MODEL"
run tune capture-on --artifact kind.kolm; ends 0; says_line 'ok captures on ~/.kolm/tune/kind/captures.jsonl'
fails 4 'no captures yet' tune step --artifact kind.kolm
works '"captures_on": true' tune status --artifact kind.kolm
mkdir else; make_shout; cp shout.kolm else/kind.kolm
fails 4 'slug already belongs to' tune capture-on --artifact else/kind.kolm

# the model answers: captured with rev, teaches nothing until somebody looks
for w in pear goat lemon horse; do
	run run kind.kolm "$w" --force; ends 0
	says_like '^(fruit|animal)$'
done
run eval kind.kolm; ends 0; says ' / 4'
C=$S/tune/kind/captures.jsonl
[ "$(grep -c '"rev":"v0"' "$C")" -eq 4 ] || bad "4 captured rows with rev expected"
fails 4 'nothing teaches yet: 4 rows' tune step --artifact kind.kolm
run captures list --artifact kind.kolm; ends 0; [ "$(printf '%s\n' "$OUT" | grep -c ' waits ')" -eq 4 ] || bad "4 rows wait"
id=$(printf '%s\n' "$OUT" | awk '/pear/ { print $1 }'); id2=$(printf '%s\n' "$OUT" | awk '/goat/ { print $1 }'); id3=$(printf '%s\n' "$OUT" | awk '/lemon/ { print $1 }')
works 'ok fixed 1 row' captures fix "$id" fruit --artifact kind.kolm
works 'ok confirmed 1 row' captures confirm "$id2" --artifact kind.kolm
works 'ok dropped 1 row' captures drop "$id3" --artifact kind.kolm
works 'ok confirmed 1 row' captures confirm --artifact kind.kolm --all
works 'ok confirmed 0 rows' captures confirm --artifact kind.kolm --all
run captures list --artifact kind.kolm; ends 0
[ "$(printf '%s\n' "$OUT" | grep -c ' teaches ')" -eq 3 ] || bad "3 rows teach"
[ "$(printf '%s\n' "$OUT" | grep -c ' dropped ')" -eq 2 ] || bad "2 rows dropped"
[ "$(printf '%s\n' "$OUT" | grep -c ' superseded ')" -eq 3 ] || bad "3 rows superseded"
run captures list --artifact kind.kolm --waiting; ends 0; [ -z "$OUT" ] || bad "nothing waits"
works '"state":"teaches"' captures list --artifact kind.kolm --json
grep -q "\"output\":\"fruit\".*\"of\":\"$id" "$C" || bad "the fix does not name the row looked at"
fails 5 'no row "abcdef"' captures fix abcdef x --artifact kind.kolm
fails 1 'at least 4 characters' captures confirm ab --artifact kind.kolm
works '"captures_teach": 3' tune status --artifact kind.kolm
# a row of the model that drops waits for nobody
echo '{"input":"fox","rev":"v0","drop":true}' >>"$C"
works 'ok confirmed 0 rows' captures confirm --artifact kind.kolm --all

# corrected rows of people, as any program writes them
for w in apple:fruit dog:animal cherry:fruit cow:animal grape:fruit cat:animal peach:fruit wolf:animal; do
	echo "{\"input\":\"${w%:*}\",\"output\":\"${w#*:}\"}" >>"$C"
done
run tune step --artifact kind.kolm --airgap --epochs 1; ends 0; says_like '^ok revision v1 elapsed ([0-9]+m )?[0-9]+s · trainable [0-9.]+K / 134\.5M$'
fails 2 'K_GATE: v1 has no eval' tune promote --artifact kind.kolm --rev v1
fails 5 'no revision v9 (have v0..v1)' tune eval --artifact kind.kolm --rev v9
run tune eval --artifact kind.kolm --rev v1; ends 0; says_like '^ok K-score 0\.[0-9]+ \(gate 0\.85[0-9]* · pass [0-4]/4\)$'
run tune promote --artifact kind.kolm --rev v1
case $RC in
0) says_line 'ok HEAD = v1 prev v0 snapshotted to head.prev'; run tune rollback --artifact kind.kolm; ends 0 ;;
2) errs 'K_GATE' ;;
*) bad "promote: 0 or 2" ;;
esac
# why a job cannot begin is said as it is
mv "$S/jobs.lock" jobs.lock; mkdir "$S/jobs.lock"
fails 4 "cannot open lock 'jobs.lock'" tune eval --artifact kind.kolm --rev v1
rmdir "$S/jobs.lock"; mv jobs.lock "$S/"
# K15: what the log cannot be told of is not there
mkdir -m 700 bare; mkdir -p bare/logs/tune.jsonl
fails 4 'audit log was cut' tune init --artifact kind.kolm --base "$MODEL" --store "$T/bare"
[ -z "$(ls -A bare/tune)" ] || bad "a slug without its line: $(ls -A bare/tune)"
# the gate: K as measured is below what is asked for
sed -i 's/"k_min": *[0-9.]*/"k_min": 1/' "$S/tune/kind/tune-config.json"
works 'ok K-score' tune eval --artifact kind.kolm --rev v1
fails 2 'error: [kolm tune promote] K_GATE: ' tune promote --artifact kind.kolm --rev v1
grep -q '"event":"gate_blocked"' "$S/logs/tune.jsonl" || bad "gate_blocked is not in the log"
[ "$(cat "$S/tune/kind/HEAD")" = v0 ] || bad "HEAD moved"
run tune promote --artifact kind.kolm --rev v1 --force; ends 0; says_line 'ok HEAD = v1 prev v0 snapshotted to head.prev'
fails 1 'HEAD is v1 already' tune promote --artifact kind.kolm --rev v1
run run kind.kolm quince --json --force; ends 0; says '"rev": "v1"'
run tune rollback --artifact kind.kolm; ends 0; says_line 'ok rolled back to v0 (was v1)'
run tune rollback --artifact kind.kolm; ends 0; says_line 'ok rolled back to v1 (was v0)'
for i in 1 2; do # asked twice under one id
	run tune rollback --artifact kind.kolm --id back-1; ends 0; says_line 'ok rolled back to v0 (was v1)'
done
fails 1 'id "back-1" was rollback already' tune promote --artifact kind.kolm --rev v1 --force --id back-1
fails 1 'bad id "a b"' tune rollback --artifact kind.kolm --id 'a b'
run tune capture-off --artifact kind.kolm; ends 0; says_line 'ok captures off ~/.kolm/tune/kind/captures.jsonl'
works ', the chain holds' log verify
[ "$(sha256sum kind.kolm)" = "$sum" ] || bad "the artifact changed"

# the audit log is checked, not believed
cp "$S/logs/tune.jsonl" "$T/kept"
sed -i '2s/"event"/"evenT"/' "$S/logs/tune.jsonl"
fails 4 'chain breaks at line' log verify
cp "$T/kept" "$S/logs/tune.jsonl"
finish
