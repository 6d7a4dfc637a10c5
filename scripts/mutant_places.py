# SPDX-License-Identifier: MIT
"""Where scripts/mutants can change src/, and how: the places, in an order that a seed chooses."""

import collections
import hashlib
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parent.parent

# Where it stands, what stands there and what comes in its place; `identity` names the change without its line number.
Place = collections.namedtuple('Place', 'path line start end kind new old identity')

TOKEN = re.compile(r'''
    (?P<skip>\s+|/\*.*?\*/|//[^\n]*|^[ \t]*\#(?:\\\n|[^\n])*)
  | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>\b(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?)[uUlL]*)
  | (?P<word>\w+)
  | (?P<op>->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|.)
''', re.S | re.M | re.X)

SWAPS = {
    '<': ('<=', '>='), '<=': ('<', '>'), '>': ('>=', '<='), '>=': ('>', '<'), '==': ('!=',), '!=': ('==',),
}
LOGIC = {'&&': '||', '||': '&&'}
ARITHMETIC = {'+': '-', '-': '+', '<<': '>>', '>>': '<<', '|': '&', '+=': '-=', '-=': '+=', '|=': '&=', '&=': '|=',
              '/': '*', '%': '/'}
STEPS = {'++': '--', '--': '++'}
KEYWORDS = {'return', 'case', 'sizeof', 'if', 'while', 'for', 'switch', 'else', 'do', 'goto', 'typeof', '__typeof__'}
UNTESTED_CALLS = re.compile(r'dk_log|dk_device_log')

Token = collections.namedtuple('Token', 'kind text start end')


def tokens_of(text):
    return [Token(match.lastgroup, match.group(), match.start(), match.end()) for match in TOKEN.finditer(text)
            if match.lastgroup != 'skip']


def closing(tokens, index):
    """The index of the token that closes the bracket at @index, or None."""
    depth = 0
    for i in range(index, len(tokens)):
        if tokens[i].text in '([{' and tokens[i].kind == 'op':
            depth += 1
        elif tokens[i].text in ')]}' and tokens[i].kind == 'op':
            depth -= 1
            if depth == 0:
                return i
    return None


def function_bodies(tokens):
    """(first, last) token indexes of every function body."""
    i = 0
    while i < len(tokens):
        if tokens[i].text == '{':
            end = closing(tokens, i)
            if end is None:
                return
            if i and tokens[i - 1].text == ')':
                yield i, end
            i = end
        i += 1


def log_calls(tokens, first, last):
    """The indexes of the tokens inside log calls."""
    inside = set()
    for i in range(first, last):
        if UNTESTED_CALLS.match(tokens[i].text) and tokens[i + 1].text == '(':
            inside.update(range(i, (closing(tokens, i + 1) or i) + 1))
    return inside


def is_binary(tokens, i):
    """Whether the operator at @i has an operand before it."""
    before = tokens[i - 1]
    if before.kind in ('number', 'text'):
        return True
    if before.kind == 'word':
        return before.text not in KEYWORDS
    return before.text in (')', ']')


def follows_cast(tokens, i):
    """Whether the parenthesis before the operator at @i closes a cast, so that the operator has one operand."""
    if tokens[i - 1].text != ')':
        return False
    depth = 0
    for j in range(i - 1, -1, -1):
        depth += {')': 1, '(': -1}.get(tokens[j].text, 0)
        if depth == 0:
            inner = tokens[j + 1:i - 1]
            return bool(inner) and all(token.kind == 'word' or token.text == '*' for token in inner) and any(
                re.fullmatch(r'(u?int\w*|long|unsigned|char|size_t|[us]\d+|\w+_t)', token.text) for token in inner)
    return False


def places_in(path, text):
    """Every single change of the file @path with contents @text."""
    tokens = tokens_of(text)
    places = []
    equals = collections.Counter()

    def add(first, last, kind, new):
        start, end = tokens[first].start, tokens[last].end
        lines = text[text.rfind('\n', 0, start) + 1:text.find('\n', end)].strip()
        what = '\0'.join((path, kind, new, text[start:end], lines))
        equals[what] += 1
        identity = hashlib.sha256(f'{what}\0{equals[what]}'.encode()).hexdigest()[:16]
        places.append(Place(path, text.count('\n', 0, start) + 1, start, end, kind, new, text[start:end], identity))

    for first, last in function_bodies(tokens):
        silent = log_calls(tokens, first, last)
        for i in range(first + 1, last):
            token = tokens[i]
            before = tokens[i - 1]
            if i in silent:
                continue
            if token.kind == 'number':
                number_places(tokens, i, add)
            elif token.kind == 'word':
                word_places(tokens, i, add, text)
            elif token.text in SWAPS:
                for new in SWAPS[token.text]:
                    add(i, i, 'comparison', new)
            elif token.text in LOGIC:
                add(i, i, 'logic', LOGIC[token.text])
            elif token.text in STEPS:
                add(i, i, 'step', STEPS[token.text])
            elif token.text == '-' and (not is_binary(tokens, i) or follows_cast(tokens, i)):
                add(i, i, 'sign', '')
            elif token.text == '!' and before.text != '!':
                add(i, i, 'condition', '')
            elif token.text in ARITHMETIC and is_binary(tokens, i):
                add(i, i, 'arithmetic', ARITHMETIC[token.text])
            elif token.text == '&' and is_binary(tokens, i) and not follows_cast(tokens, i):
                add(i, i, 'arithmetic', '|')
    return places


def number_places(tokens, i, add):
    literal = re.fullmatch(r'(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)', tokens[i].text)
    if not literal:
        return
    value = int(literal.group(1), 0) if not re.fullmatch(r'0\d+', literal.group(1)) else int(literal.group(1), 8)
    add(i, i, 'constant', f'{value + 1}{literal.group(2)}')
    if value == 1:
        add(i, i, 'constant', f'0{literal.group(2)}')


def word_places(tokens, i, add, text):
    word = tokens[i].text
    following = tokens[i + 1]
    if word in ('true', 'false'):
        add(i, i, 'constant', 'false' if word == 'true' else 'true')
    elif word in ('if', 'while') and following.text == '(':
        end = closing(tokens, i + 1)
        inner = tokens[i + 2:end]
        # With a single comparison or a leading !, the change would be the same as that of the operator.
        comparisons = sum(token.text in ('==', '!=') for token in inner)
        logic = any(token.text in LOGIC for token in inner)
        if (logic or not comparisons) and not (inner and inner[0].text == '!' and not logic):
            add(i + 2, end - 1, 'condition', f'!({text[inner[0].start:inner[-1].end]})')
    elif word == 'return' and following.text != ';':
        end = i + 1
        while tokens[end].text != ';':
            end += 1
        value = tokens[i + 1:end]
        constant = len(value) == 1 and (value[0].kind == 'number' or value[0].text in ('true', 'false', 'NULL'))
        if not constant:
            add(i + 1, end - 1, 'return', '0')
    elif following.text == '(' and word not in KEYWORDS and (
            tokens[i - 1].text in (';', '{', '}', ':', 'else', ')')):
        # After ")", only the one of an if, a for or a while begins a statement.
        end = closing(tokens, i + 1)
        if end is not None and tokens[end + 1].text == ';' and (
                tokens[i - 1].text != ')' or controls_statement(tokens, i - 1)):
            add(i, end, 'call', '(void)0')


def controls_statement(tokens, end):
    depth = 0
    for j in range(end, -1, -1):
        depth += {')': 1, '(': -1}.get(tokens[j].text, 0)
        if depth == 0:
            return tokens[j - 1].text in ('if', 'for', 'while') or '_for_each' in tokens[j - 1].text or (
                tokens[j - 1].text.startswith('for_each'))
    return False


def all_places(only, seed):
    """Every place in files that begin with one of @only, in the seed's order; and a digest of each file.

    The order depends on each place's own lines alone, so that an edit elsewhere does not choose others."""
    places = []
    digests = {}
    for path in sorted((TOP / 'src').rglob('*.c')):
        name = str(path.relative_to(TOP))
        if only and not any(name.startswith(prefix) for prefix in only):
            continue
        text = path.read_text(encoding='utf-8')
        digests[name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        places += places_in(name, text)
    return sorted(places, key=lambda place: hashlib.sha256(f'{seed} {place.identity}'.encode()).digest()), digests
