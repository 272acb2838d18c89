"""Whether names of classes are words that labels are made of, or may be people's names.

No form tells `Meier, Huber, Weber` from `nodule, mass, hernia`. What tells them apart is the words:
labels of medical images are findings, organs, cells, degrees and judgements, whose words are few
and whose endings are Greek and Latin. Where none of a set's names has such a word, and each holds
a handful of images only, they may as well be people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

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
正常 异常 異常 肺炎 健康 良性 恶性 悪性
"""
_LABEL_WORDS = frozenset(_TEXT.split())
# Of at least so many letters, words with these endings are no names.
_ENDINGS = (
    "itis", "noma", "loma", "roma", "coma", "osis", "asis", "emia", "aemia", "pathy", "plasia",
    "plastic", "thorax", "megaly", "trophy", "edema", "oedema", "rrhage", "rrhagic", "penia",
    "cyte", "cytes", "blast", "blasts", "algia", "plegia", "tumor", "tumour", "monia", "static",
    "genic", "nchyma", "tion", "sion", "ity", "ectasia", "ectasy", "phil", "phils", "ology",
)  # fmt: skip
_LEAST_LETTERS = 6
_TOKEN = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
_PLAIN = re.compile(r"[^\W\d_](?:[^\W\d_]|[ _.,'’-])+")

# So many names at least, each with so few images, and this share with a word of labels.
_LEAST_NAMES, _FEW_IMAGES, _SHARE = 3, 20, 0.2


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
    if len(names) < _LEAST_NAMES or images > _FEW_IMAGES * len(names):
        return False
    if not all(_PLAIN.fullmatch(unicodedata.normalize("NFC", name.strip())) for name in names):
        return False
    return sum(map(_is_label, names)) < _SHARE * len(names)


def _is_label(name: str) -> bool:
    words = _TOKEN.findall(_CAMEL.sub(" ", unicodedata.normalize("NFC", name)))
    return any(map(_is_label_word, (word.casefold() for word in words)))


def _is_label_word(word: str) -> bool:
    return word in _LABEL_WORDS or (len(word) >= _LEAST_LETTERS and word.endswith(_ENDINGS))
