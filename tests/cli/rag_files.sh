#!/bin/bash
# kolm-2 reads PDF by pdftotext behind the walls, and DOCX, ODT and EPUB as other programs write them: pages, headings, and what is none of them.
. "$(dirname "$0")/lib.sh"

mkdir docs
python3 - docs <<'END' || bad "no documents"
import sys, zipfile
top = sys.argv[1]


def pdf(pages):
    objects = [b'<< /Type /Catalog /Pages 2 0 R >>',
               b'<< /Type /Pages /Count %d /Kids [%s] >>' % (len(pages), b' '.join(b'%d 0 R' % (4 + 2 * i) for i in range(len(pages)))),
               b'<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>']
    for i, text in enumerate(pages):
        stream = b'BT /F1 12 Tf 72 720 Td (%s) Tj ET' % text.encode()
        objects.append(b'<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>' % (5 + 2 * i))
        objects.append(b'<< /Length %d >>\nstream\n%s\nendstream' % (len(stream), stream))
    out, at = b'%PDF-1.4\n', []
    for i, o in enumerate(objects):
        at.append(len(out))
        out += b'%d 0 obj\n%s\nendobj\n' % (i + 1, o)
    xref = len(out)
    out += b'xref\n0 %d\n0000000000 65535 f \n' % (len(at) + 1) + b''.join(b'%010d 00000 n \n' % a for a in at)
    return out + b'trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n' % (len(at) + 1, xref)


good = pdf(['The walrus contract begins.', 'Penalties for late penguins.', 'Signed in Oslo.'])
open(top + '/deal.pdf', 'wb').write(good)
open(top + '/cut.pdf', 'wb').write(good[:40])
open(top + '/fake.pdf', 'wb').write(b'walrus, but this is no PDF')
w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
with zipfile.ZipFile(top + '/memo.docx', 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('[Content_Types].xml', '<Types/>')
    z.writestr('word/document.xml', '<?xml version="1.0"?><w:document %s><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Marmots</w:t></w:r></w:p>'
               '<w:p><w:r><w:t>They whistle in </w:t></w:r><w:r><w:t>alpine meadows.</w:t></w:r></w:p></w:body></w:document>' % w)
with zipfile.ZipFile(top + '/note.odt', 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('mimetype', 'application/vnd.oasis.opendocument.text')
    z.writestr('content.xml', '<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:text="t"><office:body><office:text>'
               '<text:h text:outline-level="1">Lynxes</text:h><text:p>Their ears have tufts.</text:p></office:text></office:body></office:document-content>')
with zipfile.ZipFile(top + '/book.epub', 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('mimetype', 'application/epub+zip')
    z.writestr('META-INF/container.xml', '<?xml version="1.0"?><container><rootfiles><rootfile full-path="in/book.opf"/></rootfiles></container>')
    z.writestr('in/book.opf', '<?xml version="1.0"?><package xmlns:dc="d"><metadata><dc:title>Of Herons</dc:title></metadata><manifest><item id="a" href="one.xhtml" '
               'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>')
    z.writestr('in/one.xhtml', '<html><body><h1>Wading</h1><p>A heron stands in shallow water.</p></body></html>')
open(top + '/bad.docx', 'wb').write(b'PK\x03\x04 no archive')
END

# hit QUESTION PATH PART: the first hit, and what its line says of it
hit() {
	run rag query files "$1" --json --top-k 1
	ends 0
	[ "$(jq -r '.matches[0].path' <<<"$OUT")" = "$2" ] || bad "'$1' gives $(jq -r '.matches[0].path' <<<"$OUT")"
	case $(jq -c '.matches[0]' <<<"$OUT") in *"$3"*) ;; *) bad "'$1': no $3" ;; esac
}
run rag index docs --name files --mode kolm-2 --ext pdf,docx,odt,epub
ends 0
hit 'whistling marmot' memo.docx '"heading":"Marmots"'
hit 'tufted ears' note.odt '"heading":"Lynxes"'
hit 'heron water' book.epub '"heading":"Of Herons > Wading"'
log=$(cat "$S"/rag/jobs/1/log)
if [ -x /usr/bin/pdftotext ]; then
	hit 'late penguin penalty' deal.pdf '"lines":[2,2]'
	hit 'walrus' deal.pdf '"lines":[1,1]'
	case $log in *'skipped 3 (no words)'*) ;; *) bad "not counted: $log" ;; esac
else
	case $log in *'skipped 4 (no words)'*) ;; *) bad "not counted: $log" ;; esac
fi

# what is between indexer and program, with one that we know: pages, failure, too long an answer, a death
mkdir one out
cp docs/deal.pdf one/a.pdf
cp docs/deal.pdf one/b.pdf
echo 'plain zebra' >one/c.txt
# with PROGRAM-BODY: an index of one/ by that program; its JSON line
with() {
	printf '#!/bin/sh\n%s\n' "$1" >pdf.sh
	chmod +x pdf.sh
	rm -rf out
	mkdir out
	timeout 60 "$BUILD/bin/kolm-indexer" --name one --root "$T/one" --out "$T/out" --mode kolm-2 --ext pdf,txt --pdf "$T/pdf.sh" 2>/dev/null | tail -n 1 | jq -c '[.ok,.docs,.skipped.empty]'
}
LAST='kolm-indexer --pdf'
[ "$(with 'printf "first page\ftext of the second\f"; cat >/dev/null')" = '[true,5,0]' ] || bad "two pages each"
[ "$(with 'exit 3')" = '[true,1,2]' ] || bad "a refusal"
[ "$(with 'echo text; exit 1')" = '[true,1,2]' ] || bad "text and a failure"
[ "$(with 'kill -9 $$')" = '[true,1,2]' ] || bad "a death"
[ "$(with 'printf "\f\n \f"')" = '[true,1,2]' ] || bad "empty pages"
[ "$(with 'exec yes words')" = '[true,1,2]' ] || bad "an endless text"
[ "$(with 'cat >/dev/null; kill -9 $PPID')" = '[true,1,2]' ] || bad "the helper killed"
[ "$(with 'echo "limits $(ulimit -t) $(ulimit -f) $(ulimit -n) $(env | wc -l)"')" = '[true,3,0]' ] || bad "limits"
finish
