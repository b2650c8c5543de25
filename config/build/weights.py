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

failure  ridge regression on 0.7 (strong - weak) + 0.3 (1 - weak), each family of the same weight; then one logistic
         curve over its prediction, so that the score is a chance. Weights are capped twice: at CAP standard deviations
         while fitting (the others are fitted again), and in the file at 2 units of log odds for a whole trait.
tiers    ridge regression on each class, classes and families within a class of the same weight.

Left out of the weights on purpose (always 0): what tells exam papers apart and not tasks, see LEFT_OUT. Length alone
scores .608 on these rows, since long benchmark prompts happen to be harder, and .453 on others.
"""
import collections, gzip, hashlib, json, os, pathlib, subprocess, sys, tempfile
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get('TOLLGATE', str(ROOT / 'target/release/tollgate'))
OUT = ROOT / 'config/routing-weights.json'
LENGTH = ['length', 'whole_length']
LEFT_OUT = {
    'failure': LENGTH + ['has_options', 'many_options', 'option_length', 'number_options', 'newlines'],
    # Few rows hold code; it is not for these to say that code is simple.
    'tiers': LENGTH + ['fences', 'braces', 'identifiers', 'quotes'],
}
RIDGE = {'failure': 0.2, 'tiers': 0.3}
CAP = 0.03                      # of the failure model: prediction per standard deviation of a trait
TEMPERATURE = 6.0               # of the tiers: log odds for a whole class
GAP_SHARE = 0.7
ROWS_MIN, FAMILIES_MIN = 150, 4
SPREAD_MIN = 0.15               # a trait that hardly varies in training is not blown up
UNIT, TRAIT_UNIT, WEIGHT_MAX = 65536, 256, 131072
TIERS = ['simple', 'medium', 'complex']
LICENCES = ['MIT', 'Apache-2.0']  # a row's licence must begin with one of these, or be the one below
ROUTERBENCH = 'RouterBench (MIT repo)'


class Data:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.file = self.folder / 'routing.jsonl.gz'
        rows = [json.loads(line) for line in gzip.open(self.file, 'rt')]
        allowed = tuple(LICENCES + [ROUTERBENCH])
        refused = {row['licence'] for row in rows if not row['licence'].startswith(allowed)}
        self.rows = [row for row in rows if row['licence'].startswith(allowed)]
        if refused:
            print('left out by licence:', sorted(refused), file=sys.stderr)
        column = lambda name: np.array([row[name] if row[name] is not None else '' for row in self.rows])
        self.family, self.source, self.subject = column('family'), column('source'), column('subject')
        self.weak, self.strong = (np.array([row[n] for row in self.rows], float) for n in ('weak_score', 'strong_score'))
        self.tier = np.array([TIERS.index(row['tier']) if row['tier'] else -1 for row in self.rows])
        # The unit of a fold over sources never trained on: subjects of MMLU-Pro count as sources.
        self.origin = np.array([f'{s}/{t}' if s == 'mmlupro' else s for s, t in zip(self.source, self.subject)])
        sys.path.insert(0, str(self.folder))
        import metrics
        self.metrics = metrics
        sizes = collections.Counter(self.family)
        self.even = np.array([1 / sizes[f] for f in self.family])

    def load_traits(self):
        with tempfile.TemporaryDirectory() as folder:
            batch = pathlib.Path(folder) / 'batch.jsonl'
            write_batch(self.rows, batch)
            lines = run_binary(batch, ['--traits'])
        assert [line['id'] for line in lines] == [row['id'] for row in self.rows]
        self.names = list(lines[0]['traits'])
        self.traits = np.array([list(line['traits'].values()) for line in lines], float) / TRAIT_UNIT
        return self

    def pooled(self, score):
        return self.metrics.metrics(score, self.weak, self.strong, self.even)[0]


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


def columns(data, model, train, left_out=()):
    """The traits that get a weight: a trait of few rows or few families says more of those than of tasks."""
    out = set(LEFT_OUT[model]) | set(left_out)
    seen = data.traits[train] > 0
    families = {f: seen[data.family[train] == f].any(0) for f in set(data.family[train])}
    common = (seen.sum(0) >= ROWS_MIN) & (sum(families.values()) >= FAMILIES_MIN)
    return [place for place, name in enumerate(data.names) if name not in out and common[place]]


def solve(gram, target, ridge, cap):
    """Least squares whose weights stay within the cap: those at the cap stay there, the others are fitted again."""
    count = len(gram)
    weights, free = np.zeros(count), np.ones(count, bool)
    while True:
        rest = target[free] - gram[np.ix_(free, ~free)] @ weights[~free]
        weights[free] = np.linalg.solve(gram[np.ix_(free, free)] + ridge * np.eye(free.sum()), rest)
        over = free & (np.abs(weights) > cap)
        if not over.any():
            return weights
        weights[over] = np.sign(weights[over]) * cap
        free &= ~over


def fit(data, train, share, target, cols, ridge, cap):
    """Weights for whole traits, and the prediction for no trait at all."""
    share = share / share.sum()
    part = data.traits[train][:, cols]
    mean, spread = share @ part, part.std(0) + SPREAD_MIN
    scaled = (part - mean) / spread
    base = share @ target
    weights = solve((scaled * share[:, None]).T @ scaled, (scaled * share[:, None]).T @ (target - base), ridge, cap) / spread
    whole = np.zeros(len(data.names))
    whole[cols] = weights
    return whole, base - mean @ weights


def line(weights, bias):
    whole = np.clip(np.rint(weights * UNIT), -WEIGHT_MAX, WEIGHT_MAX).astype(int)
    return {'bias': int(round(bias * UNIT)), 'weights': whole.tolist()}


def failure(data, train, left_out=()):
    label = GAP_SHARE * (data.strong - data.weak) + (1 - GAP_SHARE) * (1 - data.weak)
    share = family_share(data, train)
    cols = columns(data, 'failure', train, left_out)
    weights, base = fit(data, train, share, label[train], cols, RIDGE['failure'], CAP)
    slope, start = logistic(data.traits[train] @ weights + base, 1 - data.weak[train], share)
    return line(weights * slope, base * slope + start)


def family_share(data, train):
    sizes = collections.Counter(data.family[train])
    return np.array([1 / sizes[f] for f in data.family[train]])


def logistic(x, y, share):
    """The logistic curve over one number, by Newton's method; never falling."""
    slope, start = 4.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(slope * x + start)))
        curve, miss = share * p * (1 - p), share * (y - p)
        hessian = np.array([[(curve * x * x).sum(), (curve * x).sum()], [(curve * x).sum(), curve.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), [(miss * x).sum(), miss.sum()])
        slope, start = slope + step[0], start + step[1]
    return (slope, start) if slope > 0 else (4.0, -2.0)


def tiers(data, train):
    train = train & (data.tier >= 0)
    kinds = collections.Counter(zip(data.tier[train], data.family[train]))
    groups = collections.Counter(tier for tier, _ in kinds)
    share = np.array([1 / kinds[t, f] / groups[t] for t, f in zip(data.tier[train], data.family[train])])
    cols = columns(data, 'tiers', train)
    made = []
    for tier in range(3):
        weights, base = fit(data, train, share, (data.tier[train] == tier).astype(float), cols, RIDGE['tiers'], np.inf)
        made.append(line(weights * TEMPERATURE, base * TEMPERATURE))
    return made


def model(data, train, version):
    return {'version': version, 'traits': data.names, 'failure': failure(data, train), 'tiers': tiers(data, train)}


def sums(data, made):
    """What the binary computes, to the unit."""
    return (data.traits * TRAIT_UNIT) @ np.array(made['weights'], float) / TRAIT_UNIT + made['bias']


def out_of_fold(data, group, left_out=()):
    score = np.zeros(len(data.rows))
    for name in sorted(set(group)):
        score[group == name] = sums(data, failure(data, group != name, left_out))[group == name]
    return data.pooled(score)


def train(data):
    data.load_traits()
    everything = np.ones(len(data.rows), bool)
    made = model(data, everything, '')
    licences = collections.Counter((row['source'], row['licence']) for row in data.rows)
    made['trained_on'] = [{'source': s, 'licence': l, 'rows': n} for (s, l), n in sorted(licences.items())]
    made['data_sha256'] = hashlib.sha256(data.file.read_bytes()).hexdigest()
    made['script'] = 'config/build/weights.py'
    made['settings'] = {'ridge': RIDGE, 'cap': CAP, 'temperature': TEMPERATURE, 'gap_share': GAP_SHARE, 'left_out': LEFT_OUT}
    made['apgr'] = {
        'leaving_a_family_out': round(out_of_fold(data, data.family), 3),
        'leaving_a_source_out': round(out_of_fold(data, data.source), 3),
        'in_sample_which_is_no_evidence': round(data.pooled(sums(data, made['failure'])), 3),
    }
    made['version'] = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]
    rows = [f' {json.dumps(key)}: {json.dumps(value)}' for key, value in made.items()]
    OUT.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
    print(json.dumps(made['apgr']), 'version', made['version'], OUT.stat().st_size, 'bytes')


def folds(data, group):
    """Every row's line from a binary whose weights have not seen the row's group."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        weights, batch = pathlib.Path(folder) / 'fold.json', pathlib.Path(folder) / 'batch.jsonl'
        for name in sorted(set(group)):
            weights.write_text(json.dumps(model(data, group != name, f'without {name}')))
            write_batch([row for row, g in zip(data.rows, group) if g == name], batch)
            answers.update((a['id'], a) for a in run_binary(batch, ['--weights', str(weights)]))
    return answers


def check(data):
    data.load_traits()
    for by, group in (('family', data.family), ('source', data.source)):
        answers = folds(data, group)
        with tempfile.NamedTemporaryFile('w', suffix='.jsonl', delete=False) as out:
            for row in data.rows:
                out.write(json.dumps({'id': row['id'], 'score': answers[row['id']]['score']}) + '\n')
        print(f'\nleaving one {by} out, graded by family, each family weighing the same', flush=True)
        subprocess.run([sys.executable, str(data.folder / 'score.py'), str(data.folder), out.name, 'family'], check=True)
        os.unlink(out.name)
    answers = folds(data, data.origin)
    said = np.array([TIERS.index(answers[row['id']]['tier']) for row in data.rows])
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
    data.load_traits()
    groups = [('family', data.family), ('source', data.source)]
    whole = [out_of_fold(data, group) for _, group in groups]
    print('| trait | weight (log odds of a whole trait) | adds, a family left out | adds, a source left out |\n|---|---|---|---|')
    print(f'| all | | {whole[0]:.3f} | {whole[1]:.3f} |')
    made = failure(data, np.ones(len(data.rows), bool))
    for place in np.argsort(-np.abs(np.array(made['weights']))):
        weight, name = made['weights'][place], data.names[place]
        if weight:
            less = [out_of_fold(data, group, [name]) for _, group in groups]
            print(f'| {name} | {weight / UNIT:+.2f} | {whole[0] - less[0]:+.4f} | {whole[1] - less[1]:+.4f} |', flush=True)


def routes(data):
    """The arithmetic of src/domain/evidence.rs, on the rows that gave no feedback; lots are drawn with fixed seeds."""
    data.load_traits()
    prior = np.zeros(len(data.rows))
    for name in sorted(set(data.family)):
        of = data.family == name
        prior[of] = 1 / (1 + np.exp(-sums(data, failure(data, ~of))[of] / UNIT))
    route = np.array([f'{s}/{t}' for s, t in zip(data.source, data.subject)])
    for labels in (0, 5, 10, 20):
        found = []
        for seed in range(5):
            lots = np.random.RandomState(seed).rand(len(route))
            score, rest = prior.copy(), np.ones(len(route), bool)
            for name in set(route):
                of = np.flatnonzero(route == name)
                told = of[np.argsort(lots[of])][:labels]
                rest[told] = False
                score[of] = (10 * prior[of] + (1 - data.weak[told]).sum()) / (10 + len(told))
            sizes = collections.Counter(data.family[rest])
            even = np.array([1 / sizes[f] for f in data.family[rest]])
            found.append(data.metrics.metrics(score[rest], data.weak[rest], data.strong[rest], even)[0])
        print(f'{labels:3} outcomes a route: APGR {np.mean(found):.3f} (from {min(found):.3f} to {max(found):.3f})')


def live(data):
    """A demo is started, each route is a system prompt, 20 of its rows are asked of the small model and told of by
    feedback, and the rest is scored by `explain` while it runs; the prior of a family has not seen that family."""
    import http.client
    labels, small = 20, 'gpt-6-luna'
    data.load_traits()
    route = np.array([f'{s}/{t}' for s, t in zip(data.source, data.subject)])
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
            score, unknown = np.full(len(route), np.nan), 0
            for name in sorted(set(data.family)):
                of = np.flatnonzero((data.family == name) & rest)
                batch, fold = pathlib.Path(folder) / 'batch.jsonl', pathlib.Path(folder) / 'fold.json'
                fold.write_text(json.dumps(model(data, data.family != name, 'fold')))
                with open(batch, 'w') as out:
                    for number in map(int, of):
                        line = {'id': number, 'path': '/v1/chat/completions', 'body': body(number) | {'model': 'auto'}}
                        out.write(json.dumps(line) + '\n')
                flags = ['--weights', str(fold), '--set', f'store.path={store}']
                for line in run_binary(batch, flags):
                    unknown += line['route'] is None
                    score[line['id']] = line['score']
        finally:
            demo.terminate()
            demo.wait()
    sizes = collections.Counter(data.family[rest])
    even = np.array([1 / sizes[f] for f in data.family[rest]])
    found = data.metrics.metrics(score[rest], data.weak[rest], data.strong[rest], even)[0]
    print(f'drawn towards {labels} outcomes a route, on the {int(rest.sum())} other rows: APGR {found:.3f}; of {unknown} rows nothing '
          'was known, since their tools were not those of any row before')


if __name__ == '__main__':
    commands = {'train': train, 'check': check, 'adds': adds, 'routes': routes, 'live': live}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](Data(sys.argv[2]))
