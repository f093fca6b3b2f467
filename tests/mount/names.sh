#!/bin/bash
# BAD-INPUTS B01-B05: names and paths that lead nowhere.
. "$(dirname "$0")/lib.sh"
slug one
start
errno_of() { python3 -c "
import errno, os, sys
try: os.stat(sys.argv[1]); print('-')
except OSError as e: print(errno.errorcode[e.errno])" "$1"; }
long() { python3 -c "print('a' * $1, end='')"; }

for bad in '../../etc' '..' '.' 'a/b' "''" 'a b' 'a:b' 'a\\b' '%2e%2e' '-x' 'caf\xc3\xa9' 'cafe\xcc\x81'; do # B01 B03 B04
	poke "$M/ctl" EINVAL "init /nowhere/x.kolm base=/nowhere/b 'slug=$bad'" "bad name"
done
for n in 65 200 4000; do # B02
	poke "$M/ctl" ENAMETOOLONG "init /nowhere/x.kolm base=/nowhere/b slug=$(long $n)" "name longer than 64"
done
for n in 65 255 1000; do same "B02 as a path, $n" ENAMETOOLONG "$(errno_of "$M/$(long $n)")"; done
for bad in 'a b' 'a:b' 'nosuch' '%2e%2e' '-x' 'one ' '.one' 'one/nosuch' 'rag/nosuch' 'logs/nosuch' 'one/jobs/0' 'one/jobs/01' 'one/jobs/7' 'one/revisions/v7' \
	'one/revisions/v01' 'one/revisions/x' 'one/revisions/v0/nosuch' 'one/revisions/v0/.hidden' 'one/artifact/x' '.lock' 'config.json'; do
	same "path $bad" ENOENT "$(errno_of "$M/$bad")"
done
same "a file is no folder" ENOTDIR "$(errno_of "$M/one/HEAD/x")"
# names of the root are no slugs (B03)
for name in ctl rag logs tune status error README version; do
	poke "$M/ctl" EINVAL "init /nowhere/x.kolm base=/nowhere/b slug=$name" "bad name"
done
# B05
poke "$M/one/ctl" EINVAL "remove two" "one"
# files in the store that are not a revision's own are not served: links
ln -s /etc/passwd "$S/tune/one/revisions/v0/leak"
same "a link in a revision" ENOENT "$(errno_of "$M/one/revisions/v0/leak")"
no grep -q leak <(ls "$M/one/revisions/v0")
# a revision nobody finished is not there
mkdir "$S/tune/one/revisions/v9"
same "an unfinished revision" ENOENT "$(errno_of "$M/one/revisions/v9")"
finish
