"""Whether names are those of classes, or identifiers of people.

A level of folders or a column of a table that tells people apart, taken for one of classes, would
be published: names of classes are written into every layout of a set. So names are weighed:
numbers, dates, identifiers made by machines, a word with running digits, and how many names there
are for how many images. Few small numbers with many images each are classes, as with the digits 0
to 9.

No form tells `Meier, Huber, Weber` from `nodule, mass, hernia`. What tells them apart is the words:
labels of medical images are findings, organs, cells, degrees and judgements, whose words are few
and whose endings are Greek and Latin. Where next to none of a set's names has such a word, and each
holds no more images than a scan of one person has slices, they may as well be people.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

# Words before the running number of a person, or of what is a person's alone.
PEOPLE_WORDS = frozenset((
    "patient", "patients", "pat", "pt", "p", "person", "people", "subject", "subjects",
    "subj", "sub", "case", "id", "mrn", "pid", "uid", "sid", "participant", "volunteer",
    "proband", "donor", "client", "individual", "user", "child", "baby", "mother", "record",
    "rec", "study", "exam", "accession", "acc", "scan", "series", "session", "ses", "visit",
    "img", "image", "images", "im", "name", "anon", "anonymous", "anonymized", "patientid",
    "subjectid",
))  # fmt: skip
# Words before the number of a class.
CLASS_WORDS = frozenset((
    "class", "classes", "grade", "stage", "level", "type", "label", "category", "cat",
    "birads", "rads", "tirads", "pirads", "lirads", "kl", "score", "group", "degree",
    "severity", "risk", "tier", "phase", "isup", "gleason", "cluster", "fitzpatrick", "cin",
    "asa", "nyha", "hpv", "covid", "t", "n", "m", "c", "g", "l", "digit", "number", "value",
))  # fmt: skip
_UID = re.compile(r"[0-9]+(\.[0-9]+){4,}")
_HASH = re.compile(r"(?=.*[0-9])[0-9a-f]{12,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_DATE = re.compile(
    r"(?<![0-9])((19|20)[0-9]{2}([-_.]?)(0[1-9]|1[0-2])\3(0[1-9]|[12][0-9]|3[01])"
    r"|(0?[1-9]|[12][0-9]|3[01])[-_.](0?[1-9]|1[0-2])[-_.](19|20)[0-9]{2}"
    r"|(0?[1-9]|[12][0-9]|3[01])[.](0?[1-9]|1[0-2])[.][0-9]{2}"
    r"|[0-9]{1,2}[-_. ]*(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*"
    r"[-_. ]*(19|20)?[0-9]{2})(?![0-9])",
    re.IGNORECASE,
)
_LONG_NUMBER = re.compile(r"(?<![0-9])[0-9]{5,}(?![0-9])")
_NUMBER = re.compile(r"[0-9]+")
_SIGNED = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WORD_NUMBER = re.compile(r"([^0-9]+?)[\s_.#(-]*([0-9]+)(?![0-9]).*", re.DOTALL)
_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")
# Stages of tumours as pathologists and clinicians write them: pT1 is no patient.
_STAGE = re.compile(r"\b[pcy]{1,2}(?=[TNM][0-9])")
# Kinds of names that people have where most of a set's names are of one kind.
_KINDS_OF_PEOPLE = (
    (re.compile(r"[A-Za-z]{1,3}[-_ ]?[0-9]{3,}[A-Za-z]?"), "are initials with numbers"),
    (re.compile(r"[^\W\d]+[-_ ]?(19|20)[0-9]{2}"), "are words with years"),
    (re.compile(r"[^\W\d_][^\d_,]*, ?[^\W\d_][^\d_,]*"), "are two names with a comma between"),
    (re.compile(r"(patient|subject|person|participant|proband|volunteer|pat|pt|case|fall|donor|"
                r"client|paciente|kind|child)s?[-_. ]?[a-z]", re.I),
     "are a word for people with a letter"),
    (re.compile(r"((mrs|miss|herr|frau|hr|dr|prof|mme|sra|sig|pan|pani)[. _]|(mr|ms|fr|sr|m)[.]) *"
                r"[^\W\d_].*", re.I), "begin with a title"),
    (re.compile(r"[mfw][-_ ]?[1-9][0-9]", re.I), "are a sex with an age"),
    (re.compile(r"(.*[\W_])?(?=[a-f]*[0-9])[0-9a-f]{6,}", re.I),
     "end in hexadecimal numbers"),
)  # fmt: skip

_CODES = (
    re.compile(r"(?P<letters>[A-Za-z]{1,3})[-_ ]?(?P<number>[0-9]{1,3})"),
    re.compile(r"(?P<number>[0-9]{1,3})[-_ ]?(?P<letters>[A-Za-z]{1,3})"),
)
_LEAST_CODES = 3
_ICD = re.compile(r"[A-Z][0-9]{2}")  # codes of diseases

# Numbers up to here may number classes; more of them have to hold many images each.
_SMALL, _FEW, _RATHER_FEW = 100, 5, 12
_MANY_IMAGES = {_RATHER_FEW: 10, 10_000: 50}
# Names of which this share is of one kind are of that kind.
_SHARE = 0.8
# So many classes with fewer images each than this are a list of people.
_PEOPLE_CLASSES, _IMAGES_OF_A_CLASS = 20, 5

# Judgements, degrees, organs, kinds of images, findings, cells and lesions, in the forms in which
# published sets name their classes; the common judgements in some other languages, too.
_TEXT = """
normal abnormal healthy unhealthy sick ill well disease diseased control controls positive
negative pos neg yes no not non none other others unknown uncertain background nothing absent
present good bad usable reject pass fail ok clear suspicious finding findings indeterminate
mild moderate severe minimal slight early late acute chronic low medium high grade stage type
primary secondary single multiple male female adult child old left right real fake
synthetic with without before after recovered
lung lungs chest heart brain head neck hand wrist elbow finger forearm humerus shoulder knee hip
spine foot ankle abdomen pelvis breast liver kidney colon skin eye retina cornea lens bone tooth
teeth tongue prostate pancreas spleen stomach esophagus uterus ovary thyroid adrenal bladder
muscle fat adipose mucosa stroma debris lymph mucus smooth vessel nerve cortex rectum cecum
pylorus ileum cervix femur
ct mri mr pet xray xr ultrasound oct fundus cxr mammogram scan image
tumor tumour tumors tumours notumor cancer cancerous lesion lesions benign malignant metastasis
metastatic nodule nodules mass cyst cysts polyp polyps stones ulcer ulcerative fracture
fractured hernia effusion opacity infiltrate emphysema consolidation hemorrhage bleed stroke
ischemic infarct aneurysm clot plaque embolism drusen cataract diabetic myopia anemia
covid corona virus viral bacteria bacterial fungal tb sars flu influenza infected uninfected
parasitized parasite malaria pleural thickening enlarged device devices support demented
nondemented alzheimer alzheimers parkinson autism autistic caries implant pituitary ductal
lobular mucinous papillary phyllodes tubular cell cells basal squamous nevus nevi naevus mole
wart warts eczema acne vascular pigmented dyed polypoid melanocytic
nv mel bkl bcc akiec ak scc df vasc cnv dme amd npdr pdr dr cnn mci ad cn hcc luad lusc brca
coad gbm lgg hgg crc basophil eosinophil monocyte neutrophil platelet ig rbc wbc
gesund krank auffällig unauffällig pathologisch gutartig bösartig befund lunge herz kopf knie
sain malade bénin malin normale anormal anormale sano sana enfermo enferma benigno maligno
malato malata neumonía polmonite saudável doente pneumonie gezond ziek
hernie fraktur bruch rechts links ja nein oui
正常 异常 異常 肺炎 健康 良性 恶性 悪性
od os ou axial sagittal coronal frontal lateral oblique apical basal parasternal plax psax cc mlo
dense fatty scattered heterogeneous homogeneous
asthma copd ards ild ipf scar scars scarring calcified calculus caries plaque gum
psoriatic rosacea vitiligo lupus herpes scabies ringworm shingles chickenpox measles monkeypox
smallpox impetigo urticaria hives alopecia blister blisters bruise bruises burn rash rashes
sores nail nails hair scalp
homogeneous speckled nucleolar centromere centromeric golgi cytoplasmic mitotic
asc us lsil hsil nilm asch lsil agc msi mss msih hem all cll aml cml mds frac nofrac
falciparum vivax ovale malariae knowlesi gametocyte schizont trophozoite ring
coli aureus epidermidis pneumoniae albicans candida aspergillus mucor escherichia staphylococcus
streptococcus pseudomonas klebsiella enterococcus lactobacillus aegypti albopictus anopheles aedes
culex hookworm whipworm roundworm tapeworm ascaris trichuris taenia egg eggs larva
systole diastole systolic diastolic smoker smokers nonsmoker intact ruptured torn dorsal palmar
plantar unilateral bilateral heel sacrum buttock ruq luq rlq llq quadrant polio rickets kids elderly
pediatric paediatric va vb vc philips siemens
норма патология здоров больной здоровые больные 정상 폐렴 비정상 정상군 zdrowy chory
καρκίνος φυσιολογικό طبيعي مريض tuberkulose unauffaellig auffaellig boesartig krebs
hemorrhoids barretts serrated bowel doubtful adi back deb lym muc mus norm str tum
hp ssa ack nev sek ba bne eo erb ly mmy plt pmy sne ssl tva
ischemia hydrocephalus epidural subdural subarachnoid intraventricular intraparenchymal
meniscus acl tear tears ligament tendon cartilage disc joint toe thumb leg arm rib ribs vertebra
aorta artery vein trachea bronchus bronchial alveolar gallbladder ovarian testis penis larynx
vocal cord tonsil nose ear mouth lip jaw
embryo fetus fetal placenta sperm oocyte head tail midpiece
erythroblast promyelocyte myelocyte metamyelocyte band segmented blast reticulocyte
in situ invasive noninvasive aggressive dysplastic regular irregular defect defective
diagnosed undiagnosed treated untreated responder nonresponder progressive stable
opaque clear dark light dilated open closed awake drowsy
referable nonreferable proliferative nonproliferative wet dry
filled filling fillings canal impacted impaction periapical implants
train test val validation valid training
"""
_LABEL_WORDS = frozenset(_TEXT.casefold().split())
# Of at least so many letters, words with these endings are no names.
_ENDINGS = (
    "itis", "noma", "loma", "roma", "coma", "osis", "asis", "emia", "aemia", "pathy", "plasia",
    "plastic", "thorax", "megaly", "trophy", "edema", "oedema", "rrhage", "rrhagic", "penia",
    "cyte", "cytes", "blast", "blasts", "algia", "plegia", "tumor", "tumour", "monia", "static",
    "genic", "nchyma", "esis", "tion", "sion", "ity", "ectasia", "ectasy", "phil", "phils", "ology",
)  # fmt: skip
_LEAST_LETTERS = 6
_NEGATIONS = ("no", "non", "not", "never", "un", "in", "without", "anti")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
# Letters alone (of one letter, a name says nothing), or with digits where there is a word, too.
_PLAIN = re.compile(r"[^\W\d_](?:[^\W\d_]|[ _.,'’-])+|(?=.*[^\W\d_]{3})[\w .,'’-]+")

# A scan of one person may have so many slices; of labels' names this share has words of labels.
_IMAGES_OF_A_PERSON, _LABEL_SHARE = 1000, 0.3


def identifier_evidence(names: Sequence[str], images: int | None = None) -> str:
    """Return why names look like identifiers of people, "" if they do not.

    The names themselves are not quoted.

    Args:
        names: K different ones.
        images: of all of them together; None where their number says nothing.

    >>> identifier_evidence(["8863", "8870", "8877"])
    '3 of 3 are long numbers, dates or identifiers made by a machine'
    >>> identifier_evidence(["patient_001", "patient_002"])
    '2 of 2 are one word with running numbers'
    >>> identifier_evidence([str(digit) for digit in range(10)], 2000)
    ''
    >>> identifier_evidence(["grade 1", "grade 2"])
    ''
    """
    names = [_STAGE.sub("", name.strip()) for name in names]
    made = sum(map(_is_made, names))
    if made:
        return f"{made} of {len(names)} are long numbers, dates or identifiers made by a machine"
    per_name = None if images is None else images / len(names)
    if reason := _numbers_evidence(names, per_name):
        return reason
    for find in (_words_evidence, _kinds_evidence, _codes_evidence, _varying_evidence):
        if reason := find(names):
            return reason
    if (
        images is not None
        and len(names) >= _PEOPLE_CLASSES
        and images < _IMAGES_OF_A_CLASS * len(names)
    ):
        return f"{len(names)} of them for {images} images"
    return ""


def _is_made(name: str) -> bool:
    """Say whether a name alone is that of a person, a study or a file."""
    whole = any(kind.fullmatch(name) for kind in (_UID, _HASH))
    if whole or _LONG_NUMBER.search(name) or _DATE.search(name) or "^" in name:
        return True
    # Years and four-digit numbers; three digits only where a zero fills them up.
    return bool(_NUMBER.fullmatch(name)) and (len(name) >= 4 or _is_padded(name, 3))


def _is_padded(number: str, width: int = 2) -> bool:
    return len(number) >= width and number.startswith("0")


def _numbers_evidence(names: Sequence[str], per_name: float | None) -> str:
    numbers = [name for name in names if _SIGNED.fullmatch(name)]
    if len(numbers) < _SHARE * len(names):
        return ""
    values = [float(name) for name in numbers]
    if any(not value.is_integer() for value in values):
        if len(values) <= _RATHER_FEW / 2 or (per_name or 0) >= _MANY_IMAGES[10_000]:
            return ""
        return f"{len(numbers)} of {len(names)} are numbers with decimal places, as of measurements"
    if min(values) < 0 and len(values) <= _RATHER_FEW:
        return ""  # numbers with a sign count nobody
    if min(values) >= 0 and _may_number_classes([int(value) for value in values], per_name):
        return ""
    return f"{len(numbers)} of {len(names)} are numbers"


def _may_number_classes(numbers: Sequence[int], per_name: float | None) -> bool:
    count, most = len(numbers), max(numbers)
    if most > _SMALL:
        return False
    if count <= _FEW:
        return True
    running = min(numbers) <= 1 and most - min(numbers) < 2 * count
    if not running:
        return False
    if per_name is None:
        return count <= _RATHER_FEW
    limit = next(images for most_names, images in _MANY_IMAGES.items() if count <= most_names)
    return per_name >= limit


def _kinds_evidence(names: Sequence[str]) -> str:
    for kind, what in _KINDS_OF_PEOPLE:
        count = sum(kind.fullmatch(name) is not None for name in names)
        if count > 1 and count >= _SHARE * len(names):
            return f"{count} of {len(names)} {what}"
    return ""


def _codes_evidence(names: Sequence[str]) -> str:
    """Letters with a number, other letters and another number in each: HM1, EM2, UH3; 7B, 12A."""
    if all(map(_ICD.fullmatch, names)):
        return ""
    for form in _CODES:
        parts = [match for match in map(form.fullmatch, names) if match]
        letters = {part["letters"].casefold() for part in parts}
        numbers = {part["number"] for part in parts}
        least = max(_LEAST_CODES, _SHARE * len(names))
        if min(len(letters), len(numbers)) >= least and len(parts) >= least:
            return f"{len(parts)} of {len(names)} are letters with a number, others in each"
    return ""


def _varying_evidence(names: Sequence[str]) -> str:
    """Names of several numbers that differ in numbers alone: BraTS20_Training_001, 002_S_0295."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for name in names:
        tokens = [token.casefold() for token in _TOKEN.findall(name)]
        form = tuple("" if token.isdecimal() else token for token in tokens)
        groups.setdefault(form, []).append(tokens)
    count = sum(len(group) for form, group in groups.items() if _counts_people(form, group))
    if count < max(2, _SHARE * len(names)):
        return ""
    return f"{count} of {len(names)} differ in running numbers alone"


def _counts_people(form: tuple[str, ...], group: Sequence[Sequence[str]]) -> bool:
    """Say whether the numbers of names of one form are more than few small ones."""
    if len(group) < 2 or not form or form.count("") < (1 if form[0] else 2):
        return False  # 40X, 100X: a number and its unit
    for place, text in enumerate(form):
        values = {tokens[place] for tokens in group}
        if text or len(values) < 2:
            continue
        word = next((own for own in reversed(form[:place]) if own), "")
        numbers = {int(value) for value in values}
        small = max(numbers) <= _SMALL and not any(_is_padded(value, 3) for value in values)
        if small and (not any(form) or word in CLASS_WORDS or len(numbers) <= _FEW):
            continue
        return True
    return False


def _words_evidence(names: Sequence[str]) -> str:
    parts = [_WORD_NUMBER.fullmatch(name) for name in names]
    words = Counter(_plain(part[1]) for part in parts if part)
    if not words:
        return ""
    word, count = words.most_common(1)[0]
    if count < max(_SHARE * len(names), 1 if _last_word(word) in PEOPLE_WORDS else 2):
        return ""
    numbers = [part[2] for part in parts if part and _plain(part[1]) == word]
    reason = f"{count} of {len(names)} are one word with running numbers"
    if _last_word(word) in PEOPLE_WORDS:
        return reason
    values = [int(number) for number in numbers]
    if _last_word(word) in CLASS_WORDS:
        return "" if max(values) <= _SMALL else reason
    # Any other word: a handful of small numbers, not filled up with zeros, may be classes.
    plain = len(set(values)) <= _FEW and max(values) <= _SMALL and not any(map(_is_padded, numbers))
    return "" if plain else reason


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", " ", word.casefold()).strip()


def _last_word(word: str) -> str:
    return word.rsplit(" ", 1)[-1]


_SPACES = re.compile(r"[\s_]+")
# What file managers put behind the name of a folder that is there already.
_COPY = re.compile(r"([ _-]+(copy|copie|copia|kopie)( ?[(]?[0-9]+[)]?)?| [(][0-9]+[)])$", re.I)
_SAME_FORMS: tuple[Callable[[str], object], ...] = (
    lambda name: _SPACES.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold(),
    lambda name: _number(name.strip().replace(",", ".")) or name,
)


def _number(name: str) -> str:
    return repr(float(name)) if _SIGNED.fullmatch(name) else ""


def alike_names(names: Sequence[str]) -> int:
    """Return how many names differ from another one in case, spaces or the form of a number alone.

    So do names of folders that were copied: `ill - Copy`, `ill (1)`.

    >>> alike_names(["No Finding", "no_finding", "Hernia", "1", "1.0"])
    4
    """
    alike: set[str] = set()
    for form in _SAME_FORMS:
        counts = Counter(map(form, names))
        alike |= {name for name in names if counts[form(name)] > 1}
    for name in names:
        original = _COPY.sub("", name)
        if original != name and original in names:
            alike |= {name, original}
    return len(alike)


def may_be_people(names: Sequence[str], images: int) -> bool:
    """Say whether all that tells classes is words which people may be called.

    Args:
        names: of the classes.
        images: of all of them together.

    >>> may_be_people(["Meier", "Huber", "Weber"], 30)
    True
    >>> may_be_people(["glioma", "meningioma", "no tumor"], 30)
    False
    """
    if len(names) < 2 or images > _IMAGES_OF_A_PERSON * len(names):
        return False
    names = [unicodedata.normalize("NFC", name.strip()) for name in names]
    words = {"".join(filter(str.isalpha, name)).casefold() for name in names}
    if len(words) < len(names) or not all(map(_PLAIN.fullmatch, names)):
        return False  # one word with several numbers is `identifier_evidence`'s
    return not are_labels(names)


def are_labels(names: Sequence[str]) -> bool:
    """Say whether enough of the names have a word that labels are made of.

    A word that several of them share tells none of them apart: with `CT_Meier, CT_Huber` it is what
    stands beside that counts.

    >>> are_labels(["COVID positive", "COVID negative"]), are_labels(["ill_Meier", "ill_Huber"])
    (True, False)
    """
    spelt = [_words_of(name) for name in names]
    counts = Counter(word for words in spelt for word in set(words))
    telling = [[word for word in words if counts[word] == 1] for words in spelt]
    if not all(any(len(word) > 1 for word in words) for words in telling):
        telling = spelt  # some say nothing but what others say, too: polyps, dyed polyps
    labels = sum(any(map(_is_label_word, words)) for words in telling)
    pairs = _negated(spelt)
    return max(labels, pairs) >= _LABEL_SHARE * len(names)


def _negated(spelt: Sequence[Sequence[str]]) -> int:
    """Count names that are another one with a word for its absence: smoker, never smoker."""
    whole = {"".join(words) for words in spelt}
    return sum(
        "".join(words).startswith(no) and "".join(words).removeprefix(no) in whole
        for words in spelt
        for no in _NEGATIONS
    )


def _words_of(name: str) -> list[str]:
    words = _TOKEN.findall(_CAMEL.sub(" ", unicodedata.normalize("NFC", name)))
    return [word.casefold() for word in words]


def _is_label_word(word: str) -> bool:
    known = word in _LABEL_WORDS or (word in CLASS_WORDS and len(word) > 1)
    return known or (len(word) >= _LEAST_LETTERS and word.endswith(_ENDINGS))
