#!/bin/bash
# What is typed wrong gets a sentence and exit 1, and nothing is made; help comes from the table of verbs.
. "$(dirname "$0")/lib.sh"

run; ends 1; errs "usage: kolm"
run --help; ends 0; says "captures confirm"; says "Exit: 0 ok"
run --version; ends 0; says "kolm "
run tune; ends 1; errs "tune promote"
run tune --help; ends 0; says "tune promote"
run tune step --help; ends 0; says "--batch-size"
fails 1 'unknown command "frobnicate"' frobnicate
fails 1 'unknown command "tune frobnicate"' tune frobnicate
fails 1 'unknown flag "--epoch"; did you mean --epochs' tune step --artifact x --epoch 3
fails 1 'write --epochs and the value as the next word' tune step --artifact x --epochs=3
fails 1 '--epochs given twice' tune step --artifact x --epochs 3 --epochs 4
fails 1 'epochs: whole number expected' tune step --artifact x --epochs 1e1
fails 1 'epochs: 1 to 1000' tune step --artifact x --epochs 1001
fails 1 'lr: finite number expected' tune step --artifact x --lr nan
fails 1 'lr: above 0 and below 1' tune step --artifact x --lr 2
fails 1 'rank: 1 to 512' tune init --artifact x --base y --rank 4097
fails 1 'too many arguments' rag list extra
fails 1 'needs a base model' tune init --artifact x
fails 1 'promote: needs a revision' tune promote --artifact x
fails 1 'bad revision "v1;"' tune promote --artifact x --rev 'v1;'
fails 1 'bad name' tune status --slug ../../etc
fails 1 'which artifact?' tune status
fails 1 'needs DIR' rag index
fails 1 'gate: number from 0 to 1' compile --spec x --gate 1.1
fails 1 'which row?' captures confirm --artifact x
fails 1 'top-k: 1 to 1000' rag query x y --top-k 0
fails 1 '--store: needs a folder' --store
# nothing that was typed is left out in silence
for words in 'verify a --artifact b' 'tune status a --artifact b' 'run in out --artifact b' 'captures list a --artifact b' 'rag attach a --artifact b --index i'; do
	# shellcheck disable=SC2086
	fails 1 '--artifact names the artifact' $words
done
fails 5 'no such artifact "b"' run in --artifact b
fails 1 'the output is given twice' captures fix abcd out --output file --artifact x
# text from outside is never written raw
run tune "$(printf 'a\033[2Jb')"; ends 1; errs 'a\x1b[2Jb'
# a value that begins with '-' is no value: the default applies
fails 4 'not initialised' tune step --artifact x --epochs --airgap

# not found, not initialised
fails 5 'no such artifact' run nothing.kolm hi
fails 5 'no such artifact' eval nothing.kolm
fails 5 'no such artifact' verify nothing.kolm
fails 5 'no such artifact' inspect nothing.kolm
fails 5 'no such artifact' tune init --artifact nothing.kolm --base "$T"
fails 5 "cannot read 'nothing.json'" compile --spec nothing.json
fails 4 'not initialised' tune capture-on --artifact nothing.kolm
fails 4 'not initialised' tune rollback --artifact nothing.kolm
fails 5 'not initialised' tune promote --artifact nothing.kolm --rev v1
fails 5 'not initialised' tune eval --artifact nothing.kolm
run tune status --artifact nothing.kolm; ends 0; says_like '"initialized": ?false'
fails 4 'index "nothing" not found' rag query nothing word
fails 5 'no store is mounted at' umount "$T"
HOME= fails 3 'set HOME or give --store' rag list

# standard output that cannot be written
"$BUILD/bin/kolm" --help >/dev/full 2>"$T/.err"; RC=$?; OUT=; ERR=$(cat "$T/.err"); LAST='kolm --help >/dev/full'
ends 4; errs 'cannot write to standard output'
# or none at all, or no standard input: nothing of ours may land on its number
make_shout
for how in '>&-' '<&-' '<&- >&-' '2>&-' '<&- >&- 2>&-'; do
	OUT=$(eval "timeout 60 '$BUILD/bin/kolm' run shout.kolm hi --force $how" 2>"$T/.err"); RC=$?; ERR=$(cat "$T/.err"); LAST="kolm run $how"
	case $how in
	*'2>&-') ends $([ "$how" = '2>&-' ] && echo 0 || echo 4) ;;
	*'>&-') ends 4; errs 'cannot write to standard output' ;;
	*) ends 0; says_line HI ;;
	esac
done
# another store
run --store "$T/other" rag list; ends 0; [ -d "$T/other/rag" ] || bad "--store was not used"
run rag list --store "$T/other2"; ends 0; [ -d "$T/other2/rag" ] || bad "--store behind the verb was not used"
KOLM_HOME=$T/third run rag list; ends 0; [ -d "$T/third/rag" ] || bad "KOLM_HOME was not used"

# what help tells, kolm(1) tells too: each verb in the synopsis and with an entry, each flag in that entry or for all verbs
python3 - "$BUILD/bin/kolm" "$ROOT/man/kolm.1" <<-'END' || bad "kolm(1) lacks something"
import re, subprocess, sys
kolm, page = sys.argv[1], open(sys.argv[2]).read()
ask = lambda *w: subprocess.run([kolm, *w, '--help'], capture_output=True, text=True).stdout
bare = lambda t: re.sub(r'^\.(?:It |Xo\n)?', '', re.sub(r'\b(?:Cm|Fl|Ar|Oo|Oc|Op|Pq|No|Ns|Xo|Xc|Li)\b ?', '', t), flags=re.M)
synopsis, rest = page.split('.Sh SYNOPSIS')[1].split('.Sh DESCRIPTION')
rest = rest.split('.Sh ENVIRONMENT')[0]
common = bare(rest.split('.Ss Artifacts')[0])
entries = re.split(r'(?m)^\.It (?=Cm|Xo\n\.Cm)', rest)[1:]
lacks = []
for line in ask().splitlines():
    m = re.match(r'  (?:(%s) )?([a-z-]+)(?= |$)' % '|'.join(re.findall(r'tune|trust|rag|captures|log', ask())), line)
    if not m:
        continue
    group, name = m.groups()
    title = ' '.join(filter(None, m.groups()))
    if not re.search(r'\b%s\b' % re.escape(name), synopsis):
        lacks.append('%s: not in the synopsis' % title)
    own = [bare(e) for e in entries if re.search(r'(?:^|, )%s(?![-\w])' % re.escape(title), bare(e).split('\n\n')[0].lstrip(), re.M)]
    if not own:
        lacks.append('%s: no entry' % title)
    for flag in re.findall(r'(?m)^  (?:-a, )?-(-?[a-z-]+)', ask(*title.split())):
        if not any(re.search(r'(?<![\w-])%s(?![\w-])' % re.escape(flag), t) for t in own + [common]):
            lacks.append('%s: -%s' % (title, flag))
print('\n'.join(lacks), end='')
sys.exit(bool(lacks))
END
finish
