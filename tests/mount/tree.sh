#!/bin/bash
# The tree: what is listed, true sizes, permissions, and that whole-tree tools end and change nothing.
. "$(dirname "$0")/lib.sh"
slug one
slug two
for n in $(seq 70); do
	echo '{"job":'$n',"state":"running","ts":"2026-01-01T00:00:00.000Z","verb":"step"}'
	echo '{"job":'$n',"state":"done","ts":"2026-01-01T00:00:01.000Z","verb":"step","outcome":"ok","rev":"v1","elapsed":1}'
done >"$S/tune/two/jobs.jsonl"
start
same "the newest 64 of 70 jobs" "$(seq 7 70)" "$(ls "$M/two/jobs" | sort -n)"
same "files of a job" "elapsed error exit log progress started state verb" "$(ls "$M/two/jobs/70" | tr '\n' ' ' | sed 's/ $//')"
same "one of before, by its name" "step ok" "$(cat "$M/two/jobs/1/verb" "$M/two/jobs/1/exit" | tr '\n' ' ' | sed 's/ $//')"

same root "README ctl error logs one rag status two version" "$(ls "$M" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
same slug "HEAD artifact captures.jsonl ctl error events head.prev jobs log revisions run status tune-config.json" \
	"$(ls "$M/one" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
same revisions "v0 v1" "$(ls "$M/one/revisions" | tr '\n' ' ' | sed 's/ $//')"
same rag "ctl error jobs" "$(ls "$M/rag" | tr '\n' ' ' | sed 's/ $//')"
same logs "runs.jsonl tune.jsonl" "$(ls "$M/logs" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
same HEAD v1 "$(cat "$M/one/HEAD")"
same head.prev v0 "$(cat "$M/one/head.prev")"
same "the store's own layout" v1 "$(cat "$M/tune/one/HEAD")"
has version "$(cat "$M/version")" "kolmfs "
has README "$(cat "$M/README")" "<slug>/captures.jsonl"
has status "$(cat "$M/status")" "slugs 2"
soon grep -qx 'walls in force' "$M/status"
for wall in no_new_privs userns netns pidns mountns identity rlimits landlock seccomp probes; do ok grep -qx "wall_$wall in force" "$M/status"; done
for f in wait follow; do ok test -e "$M/one/$f"; done

# every listed file has the size of what a read returns
while read -r f; do
	same "size of $f" "$(stat -c %s "$f")" "$(cat "$f" | wc -c)"
done < <(find "$M" -type f)

# head.prev appears with the first promotion only
rm "$S/tune/two/head.prev"
no test -e "$M/two/head.prev"
has "listing without head.prev" " $(ls "$M/two" | tr '\n' ' ')" " HEAD "
case " $(ls "$M/two" | tr '\n' ' ')" in *" head.prev "*) fail "head.prev is listed" ;; esac

# modes: commands are the owner's; what is not written cannot be opened for writing, not even by root
same "mode of ctl" 600 "$(stat -c %a "$M/one/ctl")"
same "mode of HEAD" 400 "$(stat -c %a "$M/one/HEAD")"
has "writing HEAD" "$( (echo v0 >"$M/one/HEAD") 2>&1)" "Permission denied"
no truncate -s 0 "$M/one/HEAD"
no truncate -s 5 "$M/one/ctl"
ok truncate -s 0 "$M/one/ctl"
ok touch "$M/one/ctl"
same "HEAD after all that" v1 "$(cat "$M/one/HEAD")"

# whole-tree tools end, see no file that blocks, and leave the store as it was
before=$(cd "$S" && find . -type f ! -name .lock -exec sha256sum {} + | LC_ALL=C sort)
for tool in "grep -Rq nothing-like-this" "tar cf /dev/null" "find" "du -s" "ls -lR"; do
	timeout 10 $tool "$M" >/dev/null 2>&1
	[ $? -lt 124 ] || fail "$tool did not end"
done
ok timeout 10 find "$M" -type f -exec cat {} + >/dev/null
same "the store after reading everything" "$before" "$(cd "$S" && find . -type f ! -name .lock -exec sha256sum {} + | LC_ALL=C sort)"

# the map that drives all this is what the manual prints
same "names" "$(find "$M/one" -maxdepth 1 -mindepth 1 -printf '%f\n' | LC_ALL=C sort | tr '\n' ' ')" \
	"$("$KOLMFS" --names | awk -F'\t' '$1 ~ /^<slug>\/[^\/]+\/?$/ && $3 !~ /not listed/ { sub("<slug>/", "", $1); sub("/$", "", $1); print $1 }' | LC_ALL=C sort | tr '\n' ' ')"
finish
