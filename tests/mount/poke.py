# poke.py - for lib.sh: FILE NUL TEXT NUL on standard input; answers three lines: the errno's name of one write(2) of TEXT (with \\x1b escapes) to FILE, what is read back on
# the same descriptor, and what `error` beside FILE says.
import errno, os, sys


def word():
    out = b''
    while True:
        c = sys.stdin.buffer.read(1)
        if c in (b'', b'\0'):
            return out if c else None
        out += c


def line(data):
    return data.decode('utf-8', 'backslashreplace').strip().replace('\n', ' ')


while (path := word()) is not None:
    data = word().decode().encode('latin-1', 'backslashreplace').decode('unicode_escape').encode('latin-1')
    fd = os.open(path, os.O_RDWR)
    try:
        n = os.write(fd, data)
        name = '-' if n == len(data) else 'short %d' % n
    except OSError as e:
        name = errno.errorcode[e.errno]
    print(name)
    print(line(os.read(fd, 4096)))
    os.close(fd)
    print(line(open(os.path.join(os.path.dirname(path), b'error'), 'rb').read()))
