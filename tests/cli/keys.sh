#!/bin/bash
# keygen, trust, verify --strict, receipts of runs and evals, verify-receipt; no verb changes an artifact's bytes.
. "$(dirname "$0")/lib.sh"

run keygen; ends 0; says_like '^ok key ed25519:[0-9a-f]{32}$'; says 'BEGIN PUBLIC KEY'
mine=$(printf '%s\n' "$OUT" | sed -n 's/^ok key ed25519://p'); printf '%s\n' "$OUT" | sed 1d >mine.pem
[ "$(stat -c %a "$S/signing-key.pem")" = 600 ] || bad "mode of the key"
fails 4 'there is a key already' keygen
works "ed25519:$mine  (this machine)" trust list
make_shout
sum=$(sha256sum <shout.kolm)
same() { [ "$(sha256sum <"$T/shout.kolm")" = "$sum" ] || bad "the artifact changed after: $LAST"; }

# verify names the signature and the key; strict wants one that is known
run verify shout.kolm; ends 0; says_like "^  pass  hmac +by this machine's secret$"; says_like "^  pass  ed25519 receipt +ed25519:$mine, this machine's key$"
works 'verdict:' verify shout.kolm --strict
run keygen --force; ends 0; new=$(printf '%s\n' "$OUT" | sed -n 's/^ok key ed25519://p'); [ "$new" != "$mine" ] || bad "the same key again"
works "ed25519:$mine  retired" trust list; says "ed25519:$new  (this machine)"
run verify shout.kolm; ends 0; says "ed25519:$mine, trusted as retired"
# another machine: the integrity holds, the signer is nobody there
other() { LAST="other: kolm $*"; KOLM_HOME=$T/other "$BUILD/bin/kolm" "$@" >"$T/.out" 2>"$T/.err" </dev/null; RC=$?; OUT=$(cat "$T/.out"); ERR=$(cat "$T/.err"); }
mkdir -m 700 other
other verify shout.kolm; ends 0; says_like '^  warn  hmac +by no secret of this machine$'; says_like "^  warn  ed25519 receipt +ed25519:$mine, an unknown key"; says_like '^  warn  trust'
other verify shout.kolm --strict; ends 4; says_like '^  fail  trust'; says 'verdict: fail'; errs 'signed by no key this machine knows'
other trust add mine.pem builder; ends 0; says "ok ed25519:$mine trusted as builder"
other verify shout.kolm --strict; ends 0; says "ed25519:$mine, trusted as builder"
other trust remove "ed25519:$mine"; ends 0
other verify shout.kolm --strict; ends 4
other trust remove "$mine"; ends 5; errs "no key ed25519:$mine"
other trust add nonsense; ends 5
other trust add shout.spec.json; ends 4; errs 'neither 32 hex digits nor'
other trust add 0123456789abcdef0123456789abcdeX; ends 4; errs 'is no key'
# what people wrote beside the keys stays
printf '# of the build machine, seen by Ada\n\ned25519:%032d   spaced\n# last' 7 >other/trusted-keys
other trust add "$mine" first; ends 0; other trust add "$mine" builder; ends 0
[ "$(cat other/trusted-keys)" = "$(printf '# of the build machine, seen by Ada\n\ned25519:%032d   spaced\n# last\ned25519:%s builder' 7 "$mine")" ] || bad "trusted-keys: $(cat other/trusted-keys)"
other trust remove "$(printf %032d 7)"; ends 0
[ "$(cat other/trusted-keys)" = "$(printf '# of the build machine, seen by Ada\n\n# last\ned25519:%s builder' "$mine")" ] || bad "trusted-keys: $(cat other/trusted-keys)"
rm other/trusted-keys
other trust add "$mine" builder; ends 0; echo 'gibberish' >>other/trusted-keys
other trust list; ends 4; errs 'trusted-keys: line 2'
other verify shout.kolm --strict; ends 4
rm other/trusted-keys
same

# a store's first compile, six times at once: one secret, and all are by it
for i in 1 2 3 4 5 6; do "$BUILD/bin/kolm" --store "$T/fresh" compile --spec shout.spec.json --out "first.$i.kolm" --allow-below-gate >/dev/null 2>&1 || touch fresh.bad & done
wait
[ ! -e fresh.bad ] || bad "one of six first compiles failed"
for i in 1 2 3 4 5 6; do run --store "$T/fresh" verify "first.$i.kolm"; says_like "^  pass  hmac +by this machine's secret$"; says_like "^  pass  ed25519 receipt +ed25519:.*, this machine's key$"; done

# receipts
run run shout.kolm 'hello there' --force --receipt r.json; ends 0; says 'HELLO THERE'; errs "receipt: $T/r.json"
works 'verdict: pass' verify-receipt r.json --strict
printf 'hello there' >in.txt; printf 'HELLO THERE' >out.txt
run verify-receipt r.json --artifact shout.kolm --input in.txt --output out.txt --strict; ends 0; says 'verdict: pass'; [ "$(printf '%s\n' "$OUT" | grep -c 'is what was given')" -eq 3 ] || bad "three comparisons"
fails 4 'input: the receipt says' verify-receipt r.json --input out.txt
# an artifact replaced between our look at it and the runner's: no receipt says that the first one's recipes made the answer
run compile --spec shout.spec.json --out other.kolm; ends 0
[ "$(sha256sum <other.kolm)" != "$sum" ] || bad "another build has the same bytes"
mkfifo late
for verb in 'run --input - --force' 'eval --examples -'; do
	cp shout.kolm swapped.kolm
	"$BUILD/bin/kolm" ${verb%% *} swapped.kolm ${verb#* } >late.out 2>late.err <late &
	exec 5>late
	for i in $(seq 200); do grep -qsE '^(0|63) 0x0 ' "/proc/$!/syscall" && break; sleep 0.02; done # it reads its input, so it has read the artifact
	cp other.kolm swapped.new && mv swapped.new swapped.kolm
	echo '{"input":"hello","expected":"HELLO"}' >&5; exec 5>&-
	wait $!; RC=$?; OUT=$(cat late.out); ERR=$(cat late.err); LAST="kolm $verb, the artifact replaced"
	ends 4; errs 'the artifact was replaced meanwhile'
done
fails 4 'output: the receipt says' verify-receipt r.json --output in.txt
run compile --spec shout.spec.json --out again.kolm; ends 0
fails 4 'artifact: the receipt says' verify-receipt r.json --artifact again.kolm
jq -e --arg k "ed25519:$new" '.spec == "kolm-receipt-1" and .kind == "run" and .signed_by == $k and .recipe_id == "rcp_shout" and .base == null and .adapter_sha256 == null and (.engine | startswith("kolmfs-")) and (.walls | length) > 5' r.json >/dev/null || bad "fields of the receipt"
[ "$(jq -r .input_sha256 r.json)" = "$(printf '"hello there"' | sha256sum | cut -d' ' -f1)" ] || bad "digest of the input"
# any change is seen
for edit in '.output_sha256 = .input_sha256' '.walls.userns = "gone"' '.signed_by = "me"' '.signature = ("0" * 64)' '.more = 1' 'del(.recipe_id)' '.signature_ed25519.signed_at = "x" | .signature_ed25519.signature |= ascii_downcase'; do
	jq "$edit" r.json >edited.json; run verify-receipt edited.json
	case $RC in 4) ;; *) bad "edited by $edit and not refused" ;; esac
done
jq 'del(.signature_ed25519)' r.json >edited.json; fails 4 'ed25519: no Ed25519 block' verify-receipt edited.json
other verify-receipt r.json; ends 0; says 'verdict: warn'
other verify-receipt r.json --strict; ends 4
echo '{}' >none.json; fails 4 'not a receipt' verify-receipt none.json
echo '{' >none.json; fails 4 'JSON' verify-receipt none.json
fails 5 'No such file' verify-receipt nowhere.json
run run shout.kolm again --force --receipt; ends 0; errs "receipt: $S/receipts/run-"
[ "$(stat -c %a "$S"/receipts/run-*)" = 600 ] || bad "mode of a receipt"
KOLM_ED25519_DISABLE=1 run run shout.kolm hi --force --receipt h.json; ends 0
[ "$(jq -r .signature_alg h.json)" = hmac-sha256 ] || bad "HMAC alone"
works "pass  hmac       by this machine's secret" verify-receipt h.json --strict
fails 5 "not found" run shout.kolm hi --force --receipt nowhere/r.json

# an eval always leaves one
run eval shout.kolm; ends 0; e=$(printf '%s\n' "$OUT" | sed -n 's/^  receipt:   //p'); [ -f "$e" ] || bad "no receipt of the eval"
works 'verdict: pass' verify-receipt "$e" --strict --artifact shout.kolm; says_like 'pass  input +is what was given'
[ "$(jq -c '[.kind,.source,.passed,.total]' "$e")" = '["eval","artifact",3,3]' ] || bad "fields of an eval's receipt"
echo '{"input":"q","output":"Q"}' >other.jsonl
run eval shout.kolm --examples other.jsonl --json; ends 0; e=$(printf '%s' "$OUT" | jq -r .receipt)
works 'verdict: pass' verify-receipt "$e" --artifact shout.kolm
[ "$(jq -c '[.source,.total]' "$e")" = '["examples",1]' ] || bad "an eval of examples"
same

# with a model: adapter and base are in it; tune eval leaves one beside eval.json
if [ -f "$MODEL" ]; then
	sed 's/"source":"[^"]*"/"source":"function generate(i, lib) { return lib.lm ? lib.lm.choose(i, ["HI","A B","X"]) : "X"; }"/; s/\["HI","A B","X"\]/[\x27HI\x27,\x27A B\x27,\x27X\x27]/; s/: "X"; }/: \x27X\x27; }/; s/job_shout/job_pick/' shout.spec.json >pick.spec.json
	run compile --spec pick.spec.json --out pick.kolm --allow-below-gate; ends 0
	pick=$(sha256sum pick.kolm)
	run tune init --artifact pick.kolm --base "$MODEL"; ends 0
	run run pick.kolm hi --force --receipt m.json; ends 0
	jq -e '.revision == "v0" and (.adapter_sha256 | length) == 64 and (.base.xxh3 | length) == 32 and .base.bytes > 1000000' m.json >/dev/null || bad "a run with the model"
	[ "$(jq -r .adapter_sha256 m.json)" = "$(sha256sum <"$S/tune/pick/revisions/v0/adapter_model.safetensors" | cut -d' ' -f1)" ] || bad "digest of the adapter"
	works 'verdict: pass' verify-receipt m.json --strict --artifact pick.kolm
	run tune eval --artifact pick.kolm --rev v0; ends 0
	R=$S/tune/pick/revisions/v0
	works 'verdict: pass' verify-receipt "$R/eval.receipt.json" --strict --artifact pick.kolm --output "$R/eval.json"
	sed '0,/"pass": \(true\|false\)/s//"pass": null/' "$R/eval.json" >eval.json
	fails 4 'output: the receipt says' verify-receipt "$R/eval.receipt.json" --output eval.json
	# every verb of the tool around one artifact
	for words in 'verify pick.kolm' 'inspect pick.kolm' 'run pick.kolm hi --force' 'eval pick.kolm' 'tune capture-on --artifact pick.kolm' 'tune capture-off --artifact pick.kolm' \
		'tune status --artifact pick.kolm' 'captures list --artifact pick.kolm' 'tune promote --artifact pick.kolm --rev v0 --force' 'tune rollback --artifact pick.kolm'; do
		# shellcheck disable=SC2086
		run $words
		[ "$(sha256sum pick.kolm)" = "$pick" ] || bad "kolm $words changed the artifact"
	done
	mkdir docs && echo 'the fee is nine euro' >docs/a.txt
	run rag index "$T/docs" --name fees; ends 0
	ls -A >before
	run rag attach pick.kolm --index fees; ends 0
	[ "$(sha256sum pick.kolm)" = "$pick" ] || bad "attach changed the artifact"
	[ "$(ls -A | diff before - | grep '^>')" = '> pick.kolm.rag.json' ] || bad "attach wrote more than the sidecar"
	run rag detach pick.kolm; ends 0
	[ "$(sha256sum pick.kolm)" = "$pick" ] || bad "detach changed the artifact"
	ls -A | diff before - >/dev/null || bad "detach left something"
	# and the loop itself
	echo '{"input":"pear","output":"X"}' >>"$S/tune/pick/captures.jsonl"; echo '{"input":"plum","output":"HI"}' >>"$S/tune/pick/captures.jsonl"
	run tune step --artifact pick.kolm --epochs 1; ends 0
	[ "$(sha256sum pick.kolm)" = "$pick" ] || bad "step changed the artifact"
else
	echo "ran: no receipts with a model: no base model at $MODEL"
fi
finish
