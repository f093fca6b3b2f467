#!/bin/bash
# kolm doctor: every wall by name on this machine; and on machines made poorer, what is missing, why it matters, how to get it, exit 3
. "$(dirname "$0")/lib.sh"

works "Everything kolm needs is here." doctor
for word in system cores arithmetic memory disk store fuse kolmfs kolm-cell landlock seccomp no_new_privs userns netns pidns mountns identity rlimits probes; do
	says_like "^  (ok|note) +$word  "
done
[ ! -e "$S" ] || bad "doctor made a store"
run doctor --json
ends 0
[ "$(jq -r '.ok' <<<"$OUT")" = true ] || bad "--json: ok"
[ "$(jq -r '.walls | to_entries | map(select(.value == "in force")) | length' <<<"$OUT")" = 10 ] || bad "--json: walls"
[ "$(jq -r '[.checks[] | select(.state == "ok" and .cure != null)] | length' <<<"$OUT")" = 0 ] || bad "--json: cures for what is well"

# poorer PREPARATION WANTED...: the same program where PREPARATION took something away
poorer() {
	LAST="kolm doctor after: $1"
	OUT=$(unshare -Urm sh -c "$1; exec '${PROGRAM:-$BUILD/bin/kolm}' doctor" 2>"$T/.err" </dev/null)
	RC=$?
	ERR=$(cat "$T/.err")
	shift
	ends 3
	for part; do says "$part"; done
	says "why it matters: "
	says "how to get it: "
	says " missing. Above"
}
if unshare -Urm true 2>/dev/null; then
	poorer "echo 0 >/proc/sys/user/max_user_namespaces" "MISSING  cell" "namespaces unavailable" "recipes will not be run" "sysctl user.max_user_namespaces"
	poorer "echo 0 >/proc/sys/user/max_net_namespaces" "MISSING  cell" "namespaces unavailable"
	poorer "mount --bind /dev/null /dev/fuse" "MISSING  fuse" "/dev/fuse is something else" "modprobe fuse"
	mkdir "$T/lone" && cp "$BUILD/bin/kolm" "$T/lone/"
	PROGRAM=$T/lone/kolm poorer : "MISSING  kolm-cell" "MISSING  kolm-trainer" "not beside this program" "make install" "MISSING  cell"
	mkdir -m 755 "$S"
	LAST="kolm doctor with an open store"
	run doctor
	says_like "^  note +store +.*mode 755"
	says "chmod go="
	# what no command opens is not well
	chmod 777 "$S"
	fails 4 'store must belong to' fsck
	run doctor; ends 3; says_like "^  MISSING +store +.*mode 777"; says "chmod go="
	chmod 700 "$S"
	if [ "$(id -u)" = 0 ]; then
		chown 12345 "$S"
		fails 4 'store must belong to' fsck
		run doctor; ends 3; says_like "^  MISSING +store +.*of user 12345"
		chown 0 "$S"
	fi
	touch "$T/plain"
	run --store "$T/plain/below" doctor; ends 3; says 'plain/below: Not a directory'
	run --store "$T/none/below" doctor; ends 3; says 'none/below: No such file or directory'
	chmod 755 "$S"
	make_shout
	# BAD-INPUTS D18: a wall that is missing is a refusal
	OUT=$(unshare -Ur sh -c "echo 0 >/proc/sys/user/max_user_namespaces; exec '$BUILD/bin/kolm' run '$T/shout.kolm' hi" 2>"$T/.err")
	RC=$? ERR=$(cat "$T/.err")
	LAST="kolm run without user namespaces"
	ends 3
	errs "sandbox: namespaces unavailable"
	errs "recipes will not be run"
	[ -z "$OUT" ] || bad "an answer without walls"
else
	echo "ran: no poorer machines: no user namespaces here"
fi
finish
