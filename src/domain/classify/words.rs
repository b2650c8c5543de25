//! Words that say what kind of task an ask is, by [`Theme`], and the table in which they are looked up.
//!
//! A word is looked up by a hash of its lower case letters, and again without an `s` at its end. The lists are part of
//! the traits: whoever changes them trains the weights again.

use std::sync::LazyLock;

/// Slots of the table; a power of two, several times the number of words, so that most look-ups see one slot.
const SLOTS: usize = 4_096;

/// What a word hints at. The order is that of the themes' traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Theme {
    /// Amounts and how they change, as in word problems.
    Amount,
    /// Units of money, time, length, weight.
    Unit,
    /// Mathematics beyond amounts.
    Maths,
    /// Physics, chemistry and engineering.
    Science,
    /// Living things and medicine.
    Medicine,
    /// Law and ethics.
    Law,
    /// Business, finance, economics.
    Business,
    /// Programs and their data.
    Code,
    /// Verbs that ask to work something out.
    Solve,
    /// Verbs that ask to make something.
    Make,
    /// Verbs that ask to explain or to weigh.
    Explain,
    /// Verbs that ask to find, label, translate or shorten what is there.
    Extract,
    /// Words with which one reasons: if, then, must, unless.
    Logic,
    /// What turns a question round: not, except, false.
    Negation,
    /// Choosing among statements: following, which, best, correct.
    Choice,
    /// Somebody of whom a story tells: he, she, they.
    Person,
    /// The one who is asked: you, your.
    You,
    /// The one who asks: I, my.
    Me,
    /// Films, songs, sports, places: what one knows or looks up.
    Trivia,
    /// Daily life.
    Daily,
    /// Hedges and maybes: would, might, likely.
    Maybe,
    /// Small words that any prose has.
    Plain,
    /// Who, when, where.
    Who,
    /// What, which.
    What,
    /// How.
    How,
    /// Why.
    Why,
    /// History, philosophy, society.
    Society,
    /// Forms and styles of writing.
    Writing,
    /// Shapes that an answer is to have: json, table, list.
    Format,
}

/// How many themes there are.
pub(super) const THEMES: usize = 29;

/// Their names, in their order.
pub(super) const THEME_NAMES: [&str; THEMES] = [
    "amount", "unit", "maths", "science", "medicine", "law", "business", "code", "solve", "make", "explain", "extract",
    "logic", "negation", "choice", "person", "you", "me", "trivia", "daily", "maybe", "plain", "who", "what", "how",
    "why", "society", "writing", "format",
];

const LISTS: [(Theme, &str); THEMES] = [
    (
        Theme::Amount,
        "many much more less fewer than twice thrice double triple half third quarter each every per total altogether sum \
        remaining left another rest times percent average equal equally least most both together number amount cost price \
        buy bought sell sold pay paid spend spent earn earned save saved give gave given take took split share shared \
        increase decrease increased decreased rate ratio fraction two three four five six seven eight nine ten dozen \
        hundred thousand million extra additional combined difference",
    ),
    (
        Theme::Unit,
        "dollar cent euro mile kilometer km meter metre cm mm inch feet foot yard pound ounce kg gram mg liter litre gallon \
        hour minute second day week month year old mph degree celsius fahrenheit kelvin joule watt volt ohm amp ampere \
        newton pascal atm mol mole ml hz kj kw mpa psi lb ft sec",
    ),
    (
        Theme::Maths,
        "equation polynomial matrix matrices vector integral derivative differentiate integrate theorem proof lemma prime \
        integer modulo mod function functions graph slope triangle circle square rectangle polygon angle radius perimeter \
        circumference area volume probability expected variance deviation distribution random permutation combination \
        factorial log logarithm sin cos tan sine cosine tangent sqrt root roots coefficient quadratic linear cubic \
        real complex imaginary rational irrational field ring group subgroup abelian isomorphic homomorphism ideal set \
        subset union intersection finite infinite converge converges diverges limit sequence series arithmetic geometric \
        divisible divisor remainder gcd lcm digit digits multiply divide divided product sum solution solutions variable \
        value values maximum minimum minimize maximize interval domain range inverse axis coordinates parabola ellipse \
        eigenvalue determinant orthogonal scalar dimension continuous differentiable hypothesis sample median mean mode",
    ),
    (
        Theme::Science,
        "force mass velocity acceleration speed energy momentum gravity gravitational friction electric electron proton \
        neutron photon magnetic magnet charge charged current voltage resistance resistor capacitor circuit wave \
        wavelength frequency amplitude light lens mirror temperature heat thermal pressure gas ideal liquid solid vapor \
        steam entropy enthalpy equilibrium reaction reactant product acid base ph buffer ion ionic covalent bond molecule \
        molecular atom atomic nucleus isotope element compound solution concentration molar solvent solute oxidation \
        reduction catalyst oxygen hydrogen carbon nitrogen sodium chlorine chloride metal salt orbital spin quantum \
        relativity spectrum radiation diameter pipe flow fluid density viscosity beam load stress strain torque shaft \
        motor engine turbine pump compressor efficiency signal filter transfer laplace fourier control feedback \
        star planet galaxy orbit sun moon earth telescope calculate constant",
    ),
    (
        Theme::Medicine,
        "cell cells dna rna gene genes genetic genome chromosome protein enzyme membrane mitochondria species organism \
        evolution evolutionary population plant plants animal animals bacteria virus viral infection disease patient \
        patients clinical symptom symptoms diagnosis treatment therapy drug drugs dose blood heart cardiac lung kidney \
        renal liver brain nerve neuron muscle bone hormone insulin cancer tumor syndrome acute chronic physician doctor \
        hospital nurse medical medication surgery pregnancy fetal immune antibody antigen tissue skin pain fever \
        vitamin diet nutrition anatomy artery vein",
    ),
    (
        Theme::Law,
        "law laws legal court judge jury plaintiff defendant contract statute constitution constitutional amendment \
        liability negligence tort crime criminal murder guilty guilt evidence testimony witness appeal property tenant \
        landlord deed estate will trust rights jurisdiction attorney lawyer suit sue sued damages treaty state \
        moral morally ethics ethical wrong right duty obligation consent virtue justice",
    ),
    (
        Theme::Business,
        "market markets price prices demand supply elasticity inflation gdp unemployment interest loan bank bond stock \
        stocks shares dividend firm company corporation profit profits revenue costs marginal monopoly tax taxes income \
        capital investment investor asset assets debt equity accounting balance sheet budget fiscal monetary policy \
        trade tariff export import consumer producer management manager employee employees marketing strategy \
        organization discount depreciation annual annually compound invoice portfolio",
    ),
    (
        Theme::Code,
        "function functions method code program programming python java javascript rust c++ sql html css array arrays \
        list lists tuple tuples dictionary dict string strings integer int float boolean bool loop recursion recursive \
        algorithm sort sorted binary search tree node graph stack queue hash class object variable variables parameter \
        argument return returns output input compile compiler bug debug error exception api database query regex lambda \
        import module library test tests unit async thread memory pointer null none true false char character characters \
        element elements index indices nested substring palindrome lowercase uppercase vowel consecutive occurrence \
        occurrences duplicate duplicates script file json xml csv server client request response endpoint git docker",
    ),
    (
        Theme::Solve,
        "calculate compute determine find solve evaluate derive prove show estimate approximate simplify factor deduce \
        infer verify work maximize minimize optimize simulate predict conclude",
    ),
    (
        Theme::Make,
        "write create implement build design develop generate make compose draft produce refactor add fix construct \
        program convert transform modify update",
    ),
    (
        Theme::Explain,
        "explain describe discuss compare contrast analyze analyse assess evaluate argue outline interpret illustrate \
        elaborate justify critique review consider examine explore recommend suggest advise reason reasons impact \
        effect effects implications advantages disadvantages",
    ),
    (
        Theme::Extract,
        "extract classify identify label tag categorize summarize summarise translate paraphrase rewrite rephrase list \
        name detect recognize sentiment positive negative neutral entity entities keyword keywords spam category \
        passage article paragraph sentence text document title above below mentioned according context",
    ),
    (
        Theme::Logic,
        "if then else unless must cannot implies therefore hence thus because since whether either neither nor only all \
        some any every none exactly assume assuming suppose given such let therefore consequently otherwise provided \
        condition conditions constraint constraints sufficient necessary premise conclusion argument valid",
    ),
    (
        Theme::Negation,
        "not no never except least false incorrect untrue without cannot isn't doesn't don't didn't aren't wasn't won't \
        can't neither nor unlikely",
    ),
    (
        Theme::Choice,
        "which following statement statements best correct true answer option options choose select choice described \
        describes example likely primarily refers following: i ii iii iv none above",
    ),
    (
        Theme::Person,
        "he she his her him hers they their them himself herself who john mary tom friend friends brother \
        sister mother father son daughter wife husband boy girl man woman family kids children student students teacher",
    ),
    (Theme::You, "you your yours yourself we our us"),
    (Theme::Me, "i my me mine i'm i've i'd i'll please help need want"),
    (
        Theme::Trivia,
        "film movie movies song songs album band singer sang sings actor actress played plays play show season episode \
        series tv won win winner team teams game games player cup world league champion championship bowl olympics \
        football baseball basketball cricket capital country city river located president king queen born died first \
        last name written wrote author book novel character voice original release released come came from united \
        states england america located famous invented discovered",
    ),
    (
        Theme::Daily,
        "people person someone somebody house home room kitchen bedroom table chair door street car bus store shop \
        restaurant food eat eating drink water fruit apple dog cat bird fish tree garden school office work job \
        feel feeling feelings happy sad angry tired love like wanted wants go going get getting put find place places \
        something anything thing things clothes bed sleep walk walking run running party dinner lunch breakfast \
        hand hands eyes face weather rain snow",
    ),
    (
        Theme::Maybe,
        "would could might may should likely probably usually often sometimes perhaps possibly typically \
        generally tend tends seem seems expect expected",
    ),
    (
        Theme::Plain,
        "the a an of to in on at by for with from as and or but is are was were be been being has have had do does did \
        it its this that these those there here when while after before into out up down over under about between \
        during through so also very just can will than then",
    ),
    (Theme::Who, "who whom whose when where"),
    (Theme::What, "what what's which"),
    (Theme::How, "how"),
    (Theme::Why, "why"),
    (
        Theme::Society,
        "war wars empire century revolution revolutionary government political politics democracy democratic republic \
        nation national party parliament congress senate vote voters election policy social society culture cultural \
        religion religious church christian islam buddhist god philosophy philosopher plato aristotle kant hume \
        theory psychology psychological cognitive behavior behaviour personality childhood sociology economic class \
        race gender slavery colonial colonies treaty soviet german british french american european roman greek china \
        chinese india indian",
    ),
    (
        Theme::Writing,
        "story poem essay email letter blog post paragraph paragraphs article speech dialogue script plot tone style \
        character haiku novel lyrics slogan headline introduction conclusion creative persuasive funny travel",
    ),
    (
        Theme::Format,
        "json table bullet bullets list format markdown yaml csv output steps step words sentence sentences brief \
        concise short detailed template schema columns rows",
    ),
];

/// Themes as bits, each at its place in the order.
pub(super) type Themes = u32;

static TABLE: LazyLock<Box<[(u32, Themes)]>> = LazyLock::new(table);

/// The hash of no letters.
pub(super) const EMPTY: u32 = 0x811c_9dc5;

/// The hash with one more lower case letter (FNV-1a).
pub(super) const fn hashed(hash: u32, letter: u8) -> u32 {
    (hash ^ letter as u32).wrapping_mul(0x0100_0193)
}

/// The hash of a word.
pub(super) const fn hash_of(word: &str) -> u32 {
    let (bytes, mut hash, mut at) = (word.as_bytes(), EMPTY, 0);
    while at < bytes.len() {
        hash = hashed(hash, bytes[at]);
        at += 1;
    }
    hash
}

/// The bit of a theme.
pub(super) const fn bit(theme: Theme) -> Themes {
    1 << theme as u8
}

/// The table itself, for who looks up many words.
pub(super) fn words() -> &'static [(u32, Themes)] {
    &TABLE
}

/// The themes of the word with this hash; none for most words.
pub(super) fn themes_of(table: &[(u32, Themes)], hash: u32) -> Themes {
    let mut slot = slot_of(hash);
    loop {
        match table.get(slot) {
            Some((known, themes)) if *known == hash => return *themes,
            Some((_, 0)) | None => return 0,
            Some(_) => slot = (slot + 1) % SLOTS,
        }
    }
}

fn table() -> Box<[(u32, Themes)]> {
    let mut table = vec![(0, 0); SLOTS].into_boxed_slice();
    for (theme, list) in LISTS {
        for word in list.split_ascii_whitespace() {
            let hash = hash_of(word);
            let mut slot = slot_of(hash);
            while table[slot].1 != 0 && table[slot].0 != hash {
                slot = (slot + 1) % SLOTS;
            }
            table[slot].0 = hash;
            table[slot].1 |= bit(theme);
        }
    }
    table
}

/// The upper bits of a product are the best mixed.
const fn slot_of(hash: u32) -> usize {
    (hash.wrapping_mul(0x9e37_79b1) >> 20) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_their_themes() {
        for (word, theme) in
            [("dollar", Theme::Unit), ("if", Theme::Logic), ("json", Theme::Format), ("why", Theme::Why)]
        {
            assert_ne!(themes_of(words(), hash_of(word)) & bit(theme), 0, "{word}");
        }
        assert_eq!(themes_of(words(), hash_of("tollgate")), 0);
        let known = words().iter().filter(|(_, themes)| *themes != 0).count();
        assert!(known * 2 < SLOTS, "{known} words in {SLOTS} slots");
        assert!(LISTS.iter().enumerate().all(|(place, (theme, _))| *theme as usize == place));
    }
}
