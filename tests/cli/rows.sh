#!/bin/bash
# Every row of BAD-INPUTS is named by a test that runs, by its number and not only inside of a range ("A21-A25"); those of A, B, E to H and K by one that has a real mount.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"
python3 - "$ROOT" "$SHARED/spec/BAD-INPUTS.md" <<'END' || exit 1
import os, re, sys

root, spec = sys.argv[1:]
last = dict(A=26, B=16, C=28, D=18, E=13, F=13, G=7, H=8, I=20, J=17, K=18)
rows = ['%s%02d' % (l, n) for l in last for n in range(1, last[l] + 1)]
mounted = 'ABEFGHK'


def named(*folders):
    """the numbers that stand in the tests of these folders; a program that no script starts is no test"""
    found, texts = set(), {}
    for folder in folders:
        for name in sorted(os.listdir(os.path.join(root, 'tests', folder))):
            path = os.path.join(root, 'tests', folder, name)
            if os.path.isfile(path) and name not in ('rows.sh', 'lib.sh'):
                texts[path] = open(path, errors='replace').read()
    all_of_them = '\n'.join(texts.values())
    for path, text in texts.items():
        stem, ext = os.path.splitext(os.path.basename(path))
        if ext == '.py' and not re.search(r'\b%s\b' % re.escape(stem), all_of_them.replace(text, '')):
            print('%s is started by nobody' % path)
            sys.exit(1)
        if ext == '.py':  # its rows are in its tables
            text = re.sub(r'#.*', '', text)
        text = re.sub(r'\b[A-K]\d\d(?:-| to )[A-K]?\d\d\b', '', text)
        found |= set(re.findall(r'\b[A-K]\d\d\b', text))
    return found


if os.path.exists(spec):
    told = re.findall(r'^\| ([A-K]\d\d) \|', open(spec).read(), re.M)
    assert told == rows, 'the rows of BAD-INPUTS are not those this test knows: %s' % sorted(set(told) ^ set(rows))
tried, through = named('unit', 'cli', 'mount', 'fault'), named('mount')
missing = [r for r in rows if r not in tried]
unmounted = [r for r in rows if r[0] in mounted and r not in through]
if missing or unmounted:
    sys.exit('no test names %s; none with a mount names %s' % (' '.join(missing) or 'none', ' '.join(unmounted) or 'none'))
print('ran: %d rows of BAD-INPUTS are named by tests, %d of them by one with a mount' % (len(rows), sum(r[0] in mounted for r in rows)))
END
exit 0
