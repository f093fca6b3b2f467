#!/bin/bash
# SOURCE_DATE_EPOCH: the same spec and keys give the same bytes, wherever, whenever and by whom it is built.
. "$(dirname "$0")/lib.sh"

make_shout
echo 'function generate(i) { return String(i).toUpperCase(); }' >shout.js
jq '.recipes[0] |= (del(.source) | .source_file = "shout.js") | .pack = {b:1,a:[2]} | .index = {k:"v"}' shout.spec.json >spec.json
for i in $(seq 60); do echo "{\"input\":\"word $i\",\"output\":\"WORD $i\"}"; done >seeds.jsonl
cp "$S/signing-key.pem" key.pem
export RECIPE_RECEIPT_SECRET=the-same-secret KOLM_ED25519_PRIVATE_KEY_PATH=$T/key.pem SOURCE_DATE_EPOCH=1700000000
build() { # NAME [flags]: in a folder and a store of its own
	mkdir -p "$T/$1/deep" && cp spec.json seeds.jsonl shout.js "$T/$1/deep/"
	(cd "$T/$1/deep" && KOLM_HOME=$T/$1/store "$BUILD/bin/kolm" compile --spec spec.json --out out.kolm "${@:2}" >"$T/.out" 2>"$T/.err" </dev/null)
	RC=$? OUT=$(cat "$T/.out") ERR=$(cat "$T/.err") LAST="compile in $1"
	ends 0
}
for seeds in '' '--seeds seeds.jsonl'; do
	k=${seeds:+seeds}
	# shellcheck disable=SC2086
	{
		build "one$k" $seeds
		sleep 1.1
		(umask 077; TZ=Pacific/Auckland LC_ALL=de_DE.UTF-8 LANG=tr_TR.UTF-8 build "two$k" $seeds; exit "$FAILED") || bad "build two"
		TZ=America/St_Johns LC_ALL=C USER=somebody HOME=/nonexistent build "a-much-longer-name$k" $seeds
	}
	for n in two a-much-longer-name; do
		cmp "$T/one$k/deep/out.kolm" "$T/$n$k/deep/out.kolm" || bad "$n$k differs"
	done
done
works 'verdict:' verify "$T/one/deep/out.kolm" --strict
# as near to another machine as one machine comes: another host name and user, another file system, one processor, other programs' folder
if [ "$(id -u)" = 0 ] && unshare --uts true 2>/dev/null; then
	far=$(mktemp -d /dev/shm/kolm-far.XXXXXX) && trap 'rm -rf "$T" "$far"' EXIT
	cp spec.json seeds.jsonl shout.js key.pem "$far/" && cp -r "$BUILD/bin" "$far/programs" && chown -R 65534:65534 "$far"
	for seeds in '' '--seeds seeds.jsonl'; do
		# shellcheck disable=SC2016
		env -i PATH="$PATH" HOME="$far/home" RECIPE_RECEIPT_SECRET=the-same-secret KOLM_ED25519_PRIVATE_KEY_PATH="$far/key.pem" SOURCE_DATE_EPOCH=1700000000 KOLM_KERNEL=portable \
			unshare --uts sh -c 'hostname elsewhere && cd "$1" && mkdir -p home && chown 65534 home && shift &&
			exec setpriv --reuid 65534 --regid 65534 --clear-groups taskset -c 0 ./programs/kolm compile --spec spec.json --out out.kolm "$@"' sh "$far" $seeds >.out 2>.err </dev/null
		RC=$? OUT=$(cat .out) ERR=$(cat .err) LAST="compile as another user on another host"
		ends 0
		cmp "$T/one${seeds:+seeds}/deep/out.kolm" "$far/out.kolm" || bad "elsewhere${seeds:+seeds} differs"
	done
else
	echo "ran: not as another user: this is not root"
fi
# another moment and another secret are other bytes
SOURCE_DATE_EPOCH=1700000001 build later
cmp -s one/deep/out.kolm later/deep/out.kolm && bad "the time is not in it"
RECIPE_RECEIPT_SECRET=other build other
cmp -s one/deep/out.kolm other/deep/out.kolm && bad "the secret is not in it"
# without a stated latency the measured one is in it, and only that differs
unset SOURCE_DATE_EPOCH
build plain1; build plain2
cmp -s plain1/deep/out.kolm plain2/deep/out.kolm && bad "an ordinary build has a time and an id of its own"
finish
