#!/bin/bash
# A revision for other engines: a PEFT folder, a GGUF adapter, the base with the adapter folded in. What they hold is read back with the project's own reader
# here; that llama.cpp and PEFT load them is `make check-peers`.
. "$(dirname "$0")/lib.sh"

make_kind
works 'ok wrote skeleton v0' tune init --artifact kind.kolm --base "$ROOT/tests/unit/data/peft/tiny" --slug folder
for w in apple:fruit dog:animal cherry:fruit cow:animal; do
	echo "{\"input\":\"${w%:*}\",\"output\":\"${w#*:}\"}" >>"$S/tune/folder/captures.jsonl"
done
works 'ok revision v1' tune step --artifact kind.kolm --slug folder --epochs 1
for form in peft gguf; do works "ok wrote out.$form" tune export --artifact kind.kolm --slug folder --rev v1 --to $form --out out.$form; done
for f in adapter_config.json adapter_model.safetensors; do
	cmp -s out.peft/$f "$S/tune/folder/revisions/v1/$f" || bad "$f differs from the revision's"
done
[ "$(head -c 4 out.gguf)" = GGUF ] || bad "no GGUF"
sum=$(sha256sum <out.gguf)
run tune export --artifact kind.kolm --slug folder --rev v1 --to gguf --out out.gguf; [ "$RC" -ne 0 ] || bad "an existing file was written over"
errs "is there already"
works 'ok wrote folder-v1.gguf' tune export --artifact kind.kolm --slug folder --rev v1 --to gguf
works 'ok wrote a\x0ab' tune export --artifact kind.kolm --slug folder --rev v1 --to gguf --out $'a\nb'
cmp -s out.gguf folder-v1.gguf || bad "two exports differ"
[ "$(sha256sum <out.gguf)" = "$sum" ] || bad "the first export changed"
run tune export --artifact kind.kolm --slug folder --rev v1 --to merged --out m.gguf; [ "$RC" -ne 0 ] || bad "merged from a folder"
errs 'merged is written from a GGUF base'
[ ! -e m.gguf ] && [ -z "$(find . -maxdepth 1 -name '.kolm-export*')" ] || bad "a failed export left a file"
fails 1 '--to is gguf, peft or merged' tune export --artifact kind.kolm --slug folder --rev v1 --to onnx
fails 4 'no revision v9' tune export --artifact kind.kolm --slug folder --rev v9 --to peft
# a folder that is not there, a revision whose bytes were changed
run tune export --artifact kind.kolm --slug folder --rev v1 --to gguf --out nowhere/x.gguf; [ "$RC" -ne 0 ] || bad "wrote into a folder that is not there"
printf x >>"$S/tune/folder/revisions/v1/adapter_model.safetensors"
run tune export --artifact kind.kolm --slug folder --rev v1 --to peft --out p2; [ "$RC" -ne 0 ] || bad "a changed adapter was exported"
[ ! -e p2 ] || bad "a refused export left a folder"

# merged: a base of its own; v0 folded in answers as the base, which reads its quantised matrices where v0 has halves
if [ -f "$MODEL" ]; then
	works 'ok wrote skeleton v0' tune init --artifact kind.kolm --base "$MODEL" --slug real
	works 'ok wrote m.gguf' tune export --artifact kind.kolm --slug real --rev v0 --to merged --out m.gguf
	works 'ok wrote skeleton v0' tune init --artifact kind.kolm --base "$T/m.gguf" --slug merged
	for w in plum otter fig crow; do
		run run kind.kolm "$w" --slug real --force; ends 0; a=$OUT
		run run kind.kolm "$w" --slug merged --force; ends 0
		[ "$a" = "$OUT" ] || bad "$w: merged says $OUT, base and adapter $a"
	done
else
	echo "ran: nothing merged: no base model at $MODEL"
fi
finish
