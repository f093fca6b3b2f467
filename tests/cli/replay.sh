#!/bin/bash
# A revision trained again from its record gives the same bytes; where it cannot, the reason is said and nothing is left.
. "$(dirname "$0")/lib.sh"

make_kind
works 'ok wrote skeleton v0' tune init --artifact kind.kolm --base "$ROOT/tests/unit/data/peft/tiny"
C=$S/tune/kind/captures.jsonl R=$S/tune/kind/revisions
for w in apple:fruit dog:animal cherry:fruit cow:animal grape:fruit cat:animal; do
	echo "{\"input\":\"${w%:*}\",\"output\":\"${w#*:}\"}" >>"$C"
done
works 'ok captures on' tune capture-on --artifact kind.kolm
works 'ok revision v1' tune step --artifact kind.kolm --epochs 2 --seed 7 --batch-size 3 --mem 64M
before=$(find "$R" -type f -exec sha256sum {} + | sort)
echo '{"input":"pear","output":"fruit"}' >>"$C"
works 'ok replay of v1 gave the same bytes' tune replay --artifact kind.kolm --rev v1
works 'ok revision v2' tune step --artifact kind.kolm --from v1 --rows all --epochs 1
works 'ok replay of v2 gave the same bytes' tune replay --artifact kind.kolm --rev v2
# a tenth of the rows is held back: an epoch that no longer helps ends the step, recorded, and replayed to the same bytes
for i in $(seq 60); do
	[ $((i * 7 % 5)) -lt 2 ] && is=fruit || is=animal
	echo "{\"input\":\"thing $i\",\"output\":\"$is\"}" >>"$C"
done
works 'ok revision v3' tune step --artifact kind.kolm --epochs 40 --lr 0.03
python3 - "$R/v3/train.json" "$S/logs/tune.jsonl" <<'E' || bad "the early stop is not recorded"
import json, sys
train = json.load(open(sys.argv[1]))
done, held = train["epochs_trained"], [loss for _, loss in train["heldout"]]
assert train["epochs"] == 40 and done == len(held) == train["best_epoch"] + 2 < 40, train
assert min(held) == held[done - 3] <= min(held[-2:]) and train["early_stop"].startswith("after 2 epochs"), train
line = [json.loads(l) for l in open(sys.argv[2])][-1]
assert line["event"] == "step_complete" and line["epochs_trained"] == done, line
E
works 'ok replay of v3 gave the same bytes' tune replay --artifact kind.kolm --rev v3
grep -q '"early_stop": null' "$R/v1/train.json" || bad "an early stop by rows that were not held back"
grep -q '"forgetting_kl": 0\.[0-9]*' "$R/v1/train.json" || bad "train.json does not say what was forgotten"
fails 4 'v0 was not trained here' tune replay --artifact kind.kolm --rev v0
fails 1 'needs a revision' tune replay --artifact kind.kolm

# a record that says another seed than the one that was used: other bytes, and it says so
cp -r "$R/v1" saved
sed -i 's/"seed": 7/"seed": 8/' "$R/v1/train.json"
python3 - "$R/v1" <<'E'
import hashlib, json, os, sys
path = os.path.join(sys.argv[1], "files.json")
files = json.load(open(path))
for f in files["files"]:
    data = open(os.path.join(sys.argv[1], f["name"]), "rb").read()
    f["bytes"], f["sha256"] = len(data), hashlib.sha256(data).hexdigest()
json.dump(files, open(path, "w"))
E
run tune replay --artifact kind.kolm --rev v1; [ "$RC" -ne 0 ] || bad "another seed replayed to the same bytes"
errs 'replay of v1 gave other bytes'
rm -rf "$R/v1" && mv saved "$R/v1"

cp "$C" rows && sed -i '1s/apple/melon/' "$C"
run tune replay --artifact kind.kolm --rev v1; errs 'captures.jsonl is not what v1 was trained on'; [ "$RC" -ne 0 ] || bad "replayed on other rows"
cp rows "$C"
cp "$S/tune/kind/tune-config.json" cf && sed -i 's/"dropout": 0\b/"dropout": 0.5/' "$S/tune/kind/tune-config.json"
run tune replay --artifact kind.kolm --rev v1; errs "the settings differ from v1's"; [ "$RC" -ne 0 ] || bad "replayed with other settings"
cp cf "$S/tune/kind/tune-config.json"
rm -rf "$R/v2" "$R/v3"
[ "$(find "$R" -type f -exec sha256sum {} + | sort)" = "$before" ] || bad "a replay changed a revision"
[ -z "$(find "$S/tune/kind/jobs" -name out)" ] || bad "a replay left its files"
# the record names what the base is made of, the norms behind attention and feed-forward too
works 'ok wrote skeleton v0' tune init --artifact kind.kolm --base "$ROOT/tests/unit/data/arch/gemma2.gguf" --slug gemma
cp "$C" "$S/tune/gemma/captures.jsonl"
echo "{\"input\":\"$(printf 'long %.0s' {1..3000})\",\"output\":\"fruit\"}" >>"$S/tune/gemma/captures.jsonl"
works 'ok revision v1' tune step --artifact kind.kolm --slug gemma --epochs 1
[ "$(jq -c .base.types "$S/tune/gemma/revisions/v1/train.json")" = '{"F32":9,"Q8_0":15}' ] || bad "types: $(jq -c .base "$S/tune/gemma/revisions/v1/train.json")"
# a row that is too long is counted, not trained on
[ "$(jq -c '[.rows_used, .rows_left_out]' "$S/tune/gemma/revisions/v1/train.json")" = '[68,1]' ] || bad "left out: $(jq -c '[.rows_used, .rows_left_out]' "$S/tune/gemma/revisions/v1/train.json")"
finish
