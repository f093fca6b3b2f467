# mood.py - for model.bash: `cases` prints held-out cases, `rows FROM TO` training rows FROM (from 0) to before TO. No text is in both.
import json, sys

HAPPY = ['sang all morning', 'won the race', 'got the job', 'met an old friend', 'danced at the wedding', 'found the kitten', 'baked a perfect cake']
ANGRY = ['missed the last bus', 'lost my keys', 'broke the window', 'burnt the dinner', 'got a parking fine', 'spilled the ink', 'slept through the exam']
WHO = ['I', 'My sister', 'Our neighbour', 'The teacher', 'Grandma', 'My boss', 'The twins', 'Uncle Joe']


def texts():
    for i, who in enumerate(WHO):
        for j in range(7):
            yield '%s %s.' % (who, HAPPY[(i + j) % 7]), 'happy'
            yield '%s %s.' % (who, ANGRY[(i + 2 * j) % 7]), 'angry'


all_of_them = list(texts())
cases, rows = all_of_them[:8] + all_of_them[-4:], all_of_them[8:-4]
if sys.argv[1] == 'cases':
    for n, (text, mood) in enumerate(cases, 1):
        print(json.dumps({'id': 'c%02d' % n, 'input': {'text': text}, 'expected': {'mood': mood}}))
else:
    for text, mood in rows[int(sys.argv[2]):int(sys.argv[3])]:
        print(json.dumps({'input': {'text': text}, 'output': {'mood': mood}}))
