#!/usr/bin/env python3
"""Trains config/routing-weights.json, the classifier inside the binary, and shows how it does on data it has not seen.

    pip install numpy==2.4.6
    cargo build --release
    python3 config/build/weights.py train DATA     writes config/routing-weights.json
    python3 config/build/weights.py check DATA     the folds through the binary, graded by DATA/score.py
    python3 config/build/weights.py adds  DATA     what each trait adds, with folds over families and over sources
    python3 config/build/weights.py live DATA      the same through a server: 20 requests and feedback calls a route, then explain
    python3 config/build/weights.py routes DATA    the same score drawn towards 20 outcomes of a route (source, subject)

DATA is a folder with routing.jsonl.gz, score.py and metrics.py (what TOLLGATE_DATA names). TOLLGATE names the binary
(default target/release/tollgate). The numbers of a prompt come out of that binary (`tollgate explain --traits`), so that
what is trained is what is served. Nothing is drawn by lot: a linear least-squares fit has one solution, and the same
data and binary give the same file to the byte.

failure  ridge regression on a mix of (strong - weak) and (1 - weak). The score is a chance whose odds rise with the
         prediction at a fixed slope from a fixed start (SLOPE, START).
tiers    ridge regression on each class, classes and families within a class of the same weight.

No setting of these is picked by hand: `pick` takes it out of GRIDS by folds within the rows that it is given. The folds of
`check`, `routes` and `live`, and the figures in the file, leave rows out before that: what they grade is fit and pick
together. Many a question is in several sources: what is left out takes along whatever asks the same elsewhere (`Data.rest`).
Weights are capped while fitting (`cap`, per standard deviation of a trait; the others are fitted again),
and in the file at 2 units of log odds for a whole trait.

Length gets no weight: it scores .608 on these rows, since long benchmark prompts happen to be harder, and .453 on others.
"""
import collections, gzip, hashlib, itertools, json, os, pathlib, re, subprocess, sys, tempfile
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get('TOLLGATE', str(ROOT / 'target/release/tollgate'))
OUT = ROOT / 'config/routing-weights.json'
LENGTH = ['length', 'whole_length']
# What tells exam papers apart and not tasks; and code, of which too few rows have a tier to say that it is simple.
PAPERS = ['has_options', 'many_options', 'option_length', 'number_options', 'newlines']
CODE = ['fences', 'braces', 'identifiers', 'quotes']
GRIDS = {
    'failure': {
        'ridge': [0.1, 0.3, 1.0],
        'cap': [0.03, 0.06],
        'spread_min': [0.05, 0.15],         # a trait that hardly varies in training is not blown up
        'gap_share': [0.25, 0.5, 1.0],      # of (strong - weak) in the label
        'even': ['family', 'source'],       # these weigh the same
        'pair_means_out': [0.0, 0.5, 1.0],  # how much of what tells pairs of models apart, and not asks, is taken out
        'left_out': [PAPERS, []],
    },
    'tiers': {'ridge': [0.1, 0.3, 1.0], 'cap': [None], 'spread_min': [0.05, 0.15], 'temperature': [4.0, 6.0, 8.0],
              'left_out': [CODE, []]},
}
NEAR = 0.01                     # settings so near the best are as good: of these the most careful is taken
COMPLEX_TO_SIMPLE_MAX = 0.0125  # in the folds within; half of what is allowed outside
# A prediction p near one half is 4 (p - 1/2) of log odds. The average ask of a fit fails two times in five, as the weak
# models of these rows do: would each fold start at its own mean, what it left out would look easy for being hard.
SLOPE, START = 4.0, -0.4
ROWS_MIN, FAMILIES_MIN = 150, 4
UNIT, TRAIT_UNIT, WEIGHT_MAX = 65536, 256, 131072
TIERS = ['simple', 'medium', 'complex']
# Families that ask the same kind of thing, often the very same questions.
KINDS = {
    'word problems': ['gsm', 'llmrouter:gsm8k', 'llmrouter:agentverse-mgsm'],
    'exams': ['mmlu', 'llmrouter:mmlu', 'mmlupro'],
    'school science and common sense': ['llmrouter:arc_challenge', 'routerbench_arc_challenge', 'llmrouter:openbook_qa',
                                        'llmrouter:commonsense_qa'],
    'programs': ['llmrouter:mbpp', 'routerbench_mbpp'],
}
HALVINGS = 20
# A question, without few-shot examples before it and without its options (MMLU-Pro has those of MMLU's questions and more)
# or the sentence that llmrouter puts after it.
QUESTION = re.compile(r'(?:.*\nAnswer:\s\w\n\n)?(.*?)(?:\n\(?A[.)] .*|\nAfter careful thought, put .*)?', re.S)
LICENCES = ['MIT', 'Apache-2.0']  # a row's licence must begin with one of these, or be the one below
ROUTERBENCH = 'RouterBench (MIT repo)'


class Data:
    """The rows, and their cells: rows of one family, source, subject where it counts as a source, and tier, whose questions
    are asked in the same other places. All that a fit takes from a cell is its means and products, so that thousands of fits
    take seconds."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.file = self.folder / 'routing.jsonl.gz'
        rows = [json.loads(line) for line in gzip.open(self.file, 'rt')]
        allowed = tuple(LICENCES + [ROUTERBENCH])
        refused = {row['licence'] for row in rows if not row['licence'].startswith(allowed)}
        self.rows = [row for row in rows if row['licence'].startswith(allowed)]
        if refused:
            print('left out by licence:', sorted(refused), file=sys.stderr)
        self.weak, self.strong = (np.array([row[n] for row in self.rows], float) for n in ('weak_score', 'strong_score'))
        self.tier = np.array([TIERS.index(row['tier']) if row['tier'] else -1 for row in self.rows])
        self.family = np.array([row['family'] for row in self.rows])
        self.route = np.array([f"{row['source']}/{row['subject'] or ''}" for row in self.rows])
        sys.path.insert(0, str(self.folder))
        import metrics
        self.metrics = metrics

    def load_traits(self):
        with tempfile.TemporaryDirectory() as folder:
            batch = pathlib.Path(folder) / 'batch.jsonl'
            write_batch(self.rows, batch)
            lines = run_binary(batch, ['--traits'])
        assert [line['id'] for line in lines] == [row['id'] for row in self.rows]
        self.names = list(lines[0]['traits'])
        self.traits = np.array([list(line['traits'].values()) for line in lines], float) / TRAIT_UNIT
        self.make_cells()
        self.picked = {}
        return self

    def make_cells(self):
        kind = {family: name for name, families in KINDS.items() for family in families}
        keys = [{'family': row['family'], 'source': row['source'], 'tier': tier, 'pair': row['weak'] + ' ' + row['strong'],
                 'kind': kind.get(row['family'], row['family']),
                 # The unit of a fold over sources never trained on: subjects of MMLU-Pro count as sources.
                 'origin': row['source'] + ('/' + row['subject'] if row['source'] == 'mmlupro' else '')}
                for row, tier in zip(self.rows, map(int, self.tier))]
        # Where a question is asked: every fold is made of such places.
        places = collections.defaultdict(set)
        asked = [question(row['prompt']) for row in self.rows]
        for text, key in zip(asked, keys):
            key['place'] = f"{key['family']} {key['origin']}"
            places[text].add(key['place'])
        for text, key in zip(asked, keys):
            key['places'] = '|'.join(sorted(places[text]))
        names = sorted({tuple(key.values()) for key in keys})
        place = {name: number for number, name in enumerate(names)}
        self.cell = np.array([place[tuple(key.values())] for key in keys])
        self.by = {field: np.array([name[number] for name in names]) for number, field in enumerate(keys[0])}
        columns = np.column_stack([self.traits, self.strong - self.weak, 1 - self.weak, self.tier[:, None] == np.arange(3)])
        cells = [columns[self.cell == number] for number in range(len(names))]
        self.count = np.array([len(cell) for cell in cells])
        self.mean = np.array([cell.mean(0) for cell in cells])
        self.product = np.array([np.cov(cell.T, bias=True) for cell in cells])
        self.seen = np.array([(cell[:, :len(self.names)] > 0).sum(0) for cell in cells])
        self.everything = np.ones(len(names), bool)
        self.asked_in = np.array([[place in of.split('|') for of in self.by['places']] for place in self.by['place']])

    def rest(self, test):
        """The cells for a fit that must not have seen `test`: none with a question that is asked there too."""
        return ~self.asked_in[test].any(0)

    def pooled(self, score, rows=slice(None)):
        """APGR, each family weighing the same."""
        sizes = collections.Counter(self.family[rows])
        even = np.array([1 / sizes[f] for f in self.family[rows]])
        return self.metrics.metrics(score[rows], self.weak[rows], self.strong[rows], even)[0]


def question(prompt):
    return re.sub(r'\W', '', QUESTION.fullmatch(prompt)[1].lower())


def write_batch(rows, path):
    with open(path, 'w') as out:
        for row in rows:
            body = {'model': 'auto', 'messages': [{'role': 'user', 'content': row['prompt']}]}
            if row['tools'] is not None:
                body['tools'] = json.loads(row['tools'])
            out.write(json.dumps({'id': row['id'], 'path': '/v1/chat/completions', 'body': body}) + '\n')


def run_binary(batch, flags):
    done = subprocess.run([BINARY, 'explain', '--batch', str(batch), *flags], stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- One fit. `keep` says which cells it may see.

def columns(data, keep, left_out):
    """The traits that get a weight: a trait of few rows or few families says more of those than of tasks."""
    families = [data.seen[keep & (data.by['family'] == f)].any(0) for f in sorted(set(data.by['family'][keep]))]
    common = (data.seen[keep].sum(0) >= ROWS_MIN) & (sum(map(np.int64, families)) >= FAMILIES_MIN)
    return np.array([place for place, name in enumerate(data.names) if name not in LENGTH + left_out and common[place]], int)


def evenly(data, keep, fields):
    """Each cell's share in a fit: groups by the first field weigh the same, within them groups by the next, and so on."""
    share = np.where(keep, data.count, 0).astype(float)
    for depth in range(len(fields), 0, -1):
        groups = collections.defaultdict(list)
        for cell in np.flatnonzero(keep):
            groups[tuple(data.by[field][cell] for field in fields[:depth])].append(cell)
        for cells in groups.values():
            share[cells] /= share[cells].sum()
    return share / share.sum()


def moments(data, share, means_out=0.0):
    """Means; products around them; and the same once a part of what tells pairs of models apart is taken out."""
    mean = share @ data.mean
    around = data.mean - mean
    less = around.copy()
    for pair in set(data.by['pair'][share > 0]):
        of = (data.by['pair'] == pair) & (share > 0)
        less[of] -= means_out * (share[of] @ around[of]) / share[of].sum()
    within = np.tensordot(share, data.product, 1)
    return mean, within + (around * share[:, None]).T @ around, within + (less * share[:, None]).T @ less


def solve(gram, target, ridge, cap):
    """Least squares whose weights stay within the cap: those at the cap stay there, the others are fitted again."""
    count = len(gram)
    weights, free = np.zeros(count), np.ones(count, bool)
    while True:
        rest = target[free] - gram[np.ix_(free, ~free)] @ weights[~free]
        weights[free] = np.linalg.solve(gram[np.ix_(free, free)] + ridge * np.eye(free.sum()), rest)
        over = free & (np.abs(weights) > (cap or np.inf))
        if not over.any():
            return weights
        weights[over] = np.sign(weights[over]) * cap
        free &= ~over


def fit(data, settings, cols, total, learned, target):
    """Weights for whole traits."""
    spread = np.sqrt(total[cols, cols]) + settings['spread_min']
    scaled = learned[np.ix_(cols, cols)] / np.outer(spread, spread)
    weights = np.zeros(len(data.names))
    weights[cols] = solve(scaled, target[cols] / spread, settings['ridge'], settings['cap']) / spread
    return weights


def fit_failure(data, keep, grid):
    """Weights (settings x 1 x traits) and biases (settings x 1) in log odds."""
    traits, known, weights, biases = len(data.names), {}, [], []
    for s in grid:
        share, left_out = (s['even'], s['pair_means_out']), tuple(s['left_out'])
        if share not in known:
            fields = ['family'] if s['even'] == 'family' else ['source', 'family']
            known[share] = moments(data, evenly(data, keep, fields), s['pair_means_out'])
        if left_out not in known:
            known[left_out] = columns(data, keep, s['left_out'])
        mean, total, learned = known[share]
        target = s['gap_share'] * learned[traits] + (1 - s['gap_share']) * learned[traits + 1]
        weights.append([SLOPE * fit(data, s, known[left_out], total, learned, target)])
        biases.append([START - mean[:traits] @ weights[-1][0]])
    return np.array(weights), np.array(biases)


def fit_tiers(data, keep, grid):
    """Weights (settings x 3 x traits) and biases (settings x 3) in log odds."""
    traits, weights, biases = len(data.names), [], []
    keep = keep & (data.by['tier'] >= 0)
    mean, total, learned = moments(data, evenly(data, keep, ['tier', 'family']))
    for s in grid:
        cols, heat = columns(data, keep, s['left_out']), s['temperature']
        weights.append([heat * fit(data, s, cols, total, learned, learned[traits + 2 + tier]) for tier in range(3)])
        biases.append(heat * mean[traits + 2:] - weights[-1] @ mean[:traits])
    return np.array(weights), np.array(biases)


# --- The pick of the settings, by folds within the cells that may be seen.

def blind(data, keep, field, fitter, grid):
    """Sums (rows x settings x lines) of fits that have not seen the row's group."""
    sums = np.zeros((len(data.rows), len(grid), 3 if fitter is fit_tiers else 1))
    for name in sorted(set(data.by[field][keep])):
        test = keep & (data.by[field] == name)
        rows = np.flatnonzero(test[data.cell])
        rest = keep & data.rest(test)
        if not rest.any():
            continue
        weights, biases = fitter(data, rest, grid)
        sums[rows] = np.tensordot(data.traits[rows], weights, (1, 2)) + biases
    return sums


def grade_failure(data, keep, grid):
    """The mean of APGR leaving a family out and leaving a source out, each family weighing the same."""
    rows = np.flatnonzero(keep[data.cell])
    even = (evenly(data, keep, ['family']) / data.count)[data.cell[rows]]
    gap = (data.strong - data.weak)[rows] * even
    grades = np.zeros(len(grid))
    for field in ('family', 'source'):
        for place, sums in enumerate(blind(data, keep, field, fit_failure, grid)[rows, :, 0].T):
            order = np.argsort(-sums, kind='stable')
            recovered = np.concatenate([[0], np.cumsum(gap[order])]) / gap.sum()
            grades[place] += np.trapezoid(recovered, np.concatenate([[0], np.cumsum(even[order])])) / 2
    return grades


def grade_tiers(data, keep, grid):
    """Balanced accuracy on sources never trained on; below zero where too many complex would be called simple."""
    keep = keep & (data.by['tier'] >= 0)
    sums = blind(data, keep, 'origin', fit_tiers, grid)
    odds = np.exp(sums - sums.max(2, keepdims=True))
    said = np.where(odds.max(2) >= odds.sum(2) / 2, odds.argmax(2), 1)
    of = [np.flatnonzero(keep[data.cell] & (data.tier == tier)) for tier in range(3)]
    accuracy = np.mean([(said[rows] == tier).mean(0) for tier, rows in enumerate(of)], 0)
    wrong = (said[of[2]] == 0).mean(0)
    return np.where(wrong <= COMPLEX_TO_SIMPLE_MAX, accuracy, -wrong)


MODELS = {'failure': (fit_failure, grade_failure), 'tiers': (fit_tiers, grade_tiers)}


def pick(data, model, keep):
    """Of the settings near the best those with the most doubt (the lowest temperature; a rule that was added once a figure
    outside had been seen), of these those with the largest ridge, of these the best; and its grade."""
    known = (model, keep.tobytes())
    if known not in data.picked:
        grid = [dict(zip(GRIDS[model], values)) for values in itertools.product(*GRIDS[model].values())]
        grades = MODELS[model][1](data, keep, grid).round(6)
        near = [place for place in range(len(grid)) if grades[place] >= grades.max() - NEAR]
        best = max(near, key=lambda place: (-grid[place].get('temperature', 0), grid[place]['ridge'], grades[place]))
        data.picked[known] = grid[best], float(grades[best])
    return data.picked[known]


def lines(data, model, keep, settings=None):
    """What the file holds for a model: integers, capped."""
    weights, biases = MODELS[model][0](data, keep, [settings or pick(data, model, keep)[0]])
    whole = np.clip(np.rint(weights[0] * UNIT), -WEIGHT_MAX, WEIGHT_MAX).astype(int)
    return [{'bias': int(round(b * UNIT)), 'weights': w.tolist()} for w, b in zip(whole, biases[0])]


def content(data, version, failure=None, tiers=None):
    """A file of weights as the binary takes it; a model that is not given weighs nothing."""
    nothing = {'bias': 0, 'weights': [0] * len(data.names)}
    failure, tiers = failure or [nothing], tiers or [nothing] * 3
    return {'version': version, 'traits': data.names, 'failure': failure[0], 'tiers': tiers}


def score(data, made):
    """What the binary computes, to the unit."""
    return (data.traits * TRAIT_UNIT) @ np.array(made['weights'], float) / TRAIT_UNIT + made['bias']


# --- The commands.

def folds(data, group):
    """Of a grouping of the cells: each group's name, its cells and its rows."""
    for name in sorted(set(group)):
        test = group == name
        yield name, test, np.flatnonzero(test[data.cell])


def out_of_fold(data, field, settings=None):
    """Scores of fit and pick that have not seen the row's group."""
    found = np.zeros(len(data.rows))
    for _, test, rows in folds(data, data.by[field]):
        found[rows] = score(data, lines(data, 'failure', data.rest(test), settings)[0])[rows]
    return found


def own_starts(data, field):
    """By how much each row's score would differ if the fits started at the mean of what they saw, and not all at START."""
    found = np.zeros(len(data.rows))
    for _, test, rows in folds(data, data.by[field]):
        fails = evenly(data, data.rest(test), ['family']) @ data.mean[:, len(data.names) + 1]
        found[rows] = (np.log(fails / (1 - fails)) - START) * UNIT
    return found


def train(data):
    data.load_traits()
    keep = data.everything
    made = content(data, '', lines(data, 'failure', keep), lines(data, 'tiers', keep))
    licences = collections.Counter((row['source'], row['licence']) for row in data.rows)
    made['trained_on'] = [{'source': s, 'licence': l, 'rows': n} for (s, l), n in sorted(licences.items())]
    made['data_sha256'] = hashlib.sha256(data.file.read_bytes()).hexdigest()
    made['script'] = 'config/build/weights.py'
    made['settings'] = {model: pick(data, model, keep)[0] for model in MODELS}
    made['picked_from'] = GRIDS
    made['apgr'] = {
        'what': 'fit and pick of the settings together, which have not seen what is left out; all folds on one scale (SLOPE, START)',
        'leaving_a_family_out': round(data.pooled(out_of_fold(data, 'family')), 3),
        'leaving_a_source_out': round(data.pooled(out_of_fold(data, 'source')), 3),
        'leaving_a_kind_of_task_out': round(data.pooled(out_of_fold(data, 'kind')), 3),
        'in_sample_which_is_no_evidence': round(data.pooled(score(data, made['failure'])), 3),
    }
    made['version'] = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]
    rows = [f' {json.dumps(key)}: {json.dumps(value)}' for key, value in made.items()]
    OUT.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
    print(json.dumps(made['settings']))
    print(json.dumps(made['apgr']), 'version', made['version'], OUT.stat().st_size, 'bytes')


def answers(data, model, group):
    """Every row's line from a binary whose weights, and whose settings, have not seen the row's group."""
    found = [None] * len(data.rows)
    with tempfile.TemporaryDirectory() as folder:
        weights, batch = pathlib.Path(folder) / 'fold.json', pathlib.Path(folder) / 'batch.jsonl'
        for name, test, rows in folds(data, group):
            weights.write_text(json.dumps(content(data, f'without {name}', **{model: lines(data, model, data.rest(test))})))
            write_batch([data.rows[row] for row in rows], batch)
            for row, answer in zip(rows, run_binary(batch, ['--weights', str(weights)])):
                assert answer['id'] == data.rows[row]['id']
                found[row] = answer
            settings, grade = pick(data, model, data.rest(test))
            print(f'  without {name}: {grade:.3f} in the folds within, by {json.dumps(settings)}', file=sys.stderr, flush=True)
    return found


def check(data):
    data.load_traits()
    for field in ('family', 'source', 'kind'):
        found = answers(data, 'failure', data.by[field])
        with tempfile.NamedTemporaryFile('w', suffix='.jsonl') as out:
            out.writelines(json.dumps({'id': answer['id'], 'score': answer['score']}) + '\n' for answer in found)
            out.flush()
            print(f'\nleaving one {field} out, graded by family, each family weighing the same', flush=True)
            subprocess.run([sys.executable, str(data.folder / 'score.py'), str(data.folder), out.name, 'family'], check=True)
        apart = data.pooled(out_of_fold(data, field) + own_starts(data, field))
        print(f'with each fold started at its own mean, which puts what is harder than the rest lower: APGR {apart:.3f}')
    chosen = [settings for (model, _), (settings, _) in data.picked.items() if model == 'failure']
    print(f'\nwhat these folds picked, {len(chosen)} of them different:')
    for name in GRIDS['failure']:
        print(f'{name:15}', dict(sorted(collections.Counter(str(settings[name]) for settings in chosen).items())))
    check_halves(data)
    check_tiers(data)


def both_ways(data, half):
    """What each half of the cells is worth to the other: its APGR and its gap. One set of weights scores all that is
    pooled, so that nothing here depends on how folds are put on one scale."""
    scores = np.array([answer['score'] for answer in answers(data, 'failure', half)])
    gap = lambda test: evenly(data, test, ['family']) @ data.mean[:, len(data.names)]
    return np.array([[data.pooled(scores, rows), gap(test)] for _, test, rows in folds(data, half)]).T


def check_halves(data):
    halves = {}
    for number in itertools.count():
        order = sorted(set(data.family), key=lambda family: hashlib.sha256(f'{number} {family}'.encode()).hexdigest())
        half = np.array([order.index(family) % 2 for family in data.by['family']])
        halves.setdefault((half ^ half[0]).tobytes(), half)
        if len(halves) == HALVINGS:
            break
    apgr, gap = np.concatenate([both_ways(data, half) for half in halves.values()], 1)
    wide = apgr[gap >= 0.05]
    print(f'\n{HALVINGS} fixed halvings of the families, each half asked by the weights of the other: APGR '
          f'{(apgr * gap).sum() / gap.sum():.3f} (weighed by the gap); of {len(wide)} halves with a gap of .05: median '
          f'{np.median(wide):.3f}, {(wide >= 0.6).mean():.0%} at least .60, lowest {wide.min():.3f}')
    (others, llmrouter), _ = both_ways(data, data.by['source'] == 'llmrouter')
    print(f"llmrouter's families by the weights of all others {llmrouter:.3f}, all others by llmrouter's {others:.3f}")


def check_tiers(data):
    found = answers(data, 'tiers', data.by['origin'])
    said = np.array([TIERS.index(answer['tier']) for answer in found])
    print('\nfield tier, sources never trained on, subjects of mmlupro as sources')
    print(f'{"":10}{"rows":>7} ' + ' '.join(f'{"said " + t:>13}' for t in TIERS))
    recalls = []
    for tier, name in enumerate(TIERS):
        of = data.tier == tier
        shares = [(said[of] == other).mean() for other in range(3)]
        recalls.append(shares[tier])
        print(f'{name:10}{of.sum():7} ' + ' '.join(f'{share:13.3f}' for share in shares))
    complex_to_simple = (said[data.tier == 2] == 0).mean()
    print(f'balanced accuracy {np.mean(recalls):.3f}, complex sent to simple {complex_to_simple:.4f}')


def adds(data):
    """With the settings that all rows pick, for every fold: only differences are read here."""
    data.load_traits()
    settings = pick(data, 'failure', data.everything)[0]

    def apgr(left_out):
        fewer = settings | {'left_out': settings['left_out'] + left_out}
        return np.array([data.pooled(out_of_fold(data, field, fewer)) for field in ('family', 'source')])

    whole = apgr([])
    print('| trait | weight (log odds of a whole trait) | adds, a family left out | adds, a source left out |\n|---|---|---|---|')
    print(f'| all | | {whole[0]:.3f} | {whole[1]:.3f} |')
    weights = lines(data, 'failure', data.everything)[0]['weights']
    for weight, name in sorted(zip(weights, data.names), key=lambda pair: -abs(pair[0])):
        if weight:
            less = whole - apgr([name])
            print(f'| {name} | {weight / UNIT:+.2f} | {less[0]:+.4f} | {less[1]:+.4f} |', flush=True)


def routes(data):
    """The arithmetic of src/domain/evidence.rs, on the rows that gave no feedback; lots are drawn with fixed seeds."""
    data.load_traits()
    prior = 1 / (1 + np.exp(-out_of_fold(data, 'family') / UNIT))
    for labels in (0, 5, 10, 20):
        found = []
        for seed in range(5):
            lots = np.random.RandomState(seed).rand(len(data.route))
            drawn, rest = prior.copy(), np.ones(len(data.route), bool)
            for name in set(data.route):
                of = np.flatnonzero(data.route == name)
                told = of[np.argsort(lots[of])][:labels]
                rest[told] = False
                drawn[of] = (10 * prior[of] + (1 - data.weak[told]).sum()) / (10 + len(told))
            found.append(data.pooled(drawn, np.flatnonzero(rest)))
        print(f'{labels:3} outcomes a route: APGR {np.mean(found):.3f} (from {min(found):.3f} to {max(found):.3f})')


def live(data):
    """A demo is started, each route is a system prompt, 20 of its rows are asked of the small model and told of by
    feedback, and the rest is scored by `explain` while it runs; the prior of a family has not seen that family."""
    import http.client
    labels, small = 20, 'gpt-6-luna'
    data.load_traits()
    route = data.route
    lots, rest, told = np.random.RandomState(0).rand(len(route)), np.ones(len(route), bool), []
    for name in sorted(set(route)):
        of = np.flatnonzero(route == name)
        told.extend(of[np.argsort(lots[of])][:labels])
    rest[told] = False

    def body(number):
        row = data.rows[number]
        asked = {'model': small, 'max_tokens': 16, 'messages': [
            {'role': 'system', 'content': f'You do one kind of task: {route[number]}.'},
            {'role': 'user', 'content': row['prompt']}]}
        return asked | ({'tools': json.loads(row['tools'])} if row['tools'] is not None else {})

    def call(address, path, sent, headers={}):
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request('POST', path, json.dumps(sent), {'content-type': 'application/json', **headers})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text)
        return answer.headers

    with tempfile.TemporaryDirectory() as folder:
        client, admin = '127.0.0.1:4402', '127.0.0.1:4403'
        command = [str(pathlib.Path(BINARY).resolve()), 'demo', '--listen', client, '--admin-listen', admin]
        demo = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
        try:
            for line in demo.stdout:
                if b'Ctrl-C stops' in line:
                    break
            store = pathlib.Path(folder) / 'data/demo'
            token = {'authorization': 'Bearer ' + (store / 'admin-token').read_text().strip()}
            for number in told:
                id = call(client, '/v1/chat/completions', body(number))['x-tollgate-request-id']
                score = float(data.weak[number])
                said = {'request_id': id, 'outcome': 'good' if score >= .5 else 'bad', 'score': score}
                call(admin, '/admin/v1/feedback', said, token)
            print(f'{len(told)} rows of {len(set(route))} routes were asked and told of')
            scores, unknown = np.full(len(route), np.nan), 0
            for _, test, rows in folds(data, data.by['family']):
                of = rows[rest[rows]]
                batch, fold = pathlib.Path(folder) / 'batch.jsonl', pathlib.Path(folder) / 'fold.json'
                fold.write_text(json.dumps(content(data, 'fold', lines(data, 'failure', data.rest(test)))))
                with open(batch, 'w') as out:
                    for number in map(int, of):
                        line = {'id': number, 'path': '/v1/chat/completions', 'body': body(number) | {'model': 'auto'}}
                        out.write(json.dumps(line) + '\n')
                flags = ['--weights', str(fold), '--set', f'store.path={store}']
                for line in run_binary(batch, flags):
                    unknown += line['route'] is None
                    scores[line['id']] = line['score']
        finally:
            demo.terminate()
            demo.wait()
    found = data.pooled(scores, np.flatnonzero(rest))
    print(f'drawn towards {labels} outcomes a route, on the {int(rest.sum())} other rows: APGR {found:.3f}; of {unknown} rows nothing '
          'was known, since their tools were not those of any row before')


if __name__ == '__main__':
    commands = {'train': train, 'check': check, 'adds': adds, 'routes': routes, 'live': live}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](Data(sys.argv[2]))
