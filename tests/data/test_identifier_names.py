"""Names of classes and identifiers of people are told apart."""

from __future__ import annotations

import pytest

from latentpath.data.identifier_names import alike_names, identifier_evidence, may_be_people


@pytest.mark.parametrize(
    "names",
    [
        ["normal", "pneumonia"],
        ["0", "1"],
        [str(digit) for digit in range(10)],
        ["2", "9", "10"],
        ["10", "20", "30"],
        ["-1.0", "0.0", "1.0"],
        ["normal", "covid19"],
        ["HPV16", "HPV18"],
        ["grade 1", "grade 2", "grade 3"],
        ["class_01", "class_02"],
        ["BI-RADS 2", "BI-RADS 3"],
        ["T1", "T2"],
        ["01_TUMOUR", "02_STROMA", "03_LYMPHO", "04_DEBRIS"],
        ["40X", "100X", "200X", "400X"],
        ["batch1", "batch2"],
        ["pT1", "pT2", "pT3"],
        ["0-10", "10-20", "20-30"],
        ["001.Albatross", "002.Auklet", "003.Blackbird"],
        ["KL0", "KL1", "KL2", "KL3", "KL4"],
        ["C34.1", "D22.5", "C18.7"],
        ["T1N0", "T1N1", "T2N0"],
        ["C34", "D22", "J18"],
        ["A1", "A2", "A3", "B1", "B2"],
        ["1A", "1B", "2A", "2B"],
        ["CIN1", "CIN2", "CIN3"],
        ["t2", "t9"],
    ],
)
def test_classes(names):
    assert identifier_evidence(names) == ""
    assert identifier_evidence(names, 1000 * len(names)) == ""


@pytest.mark.parametrize(
    "names",
    [
        ["8863", "8870"],
        ["patient_001"],
        ["P12", "P13"],
        ["sub-01", "sub-02"],
        ["10253", "9"],
        ["normal", "1.2.840.113619.2.55"],
        ["2019-03-04", "4.3.2019"],
        ["smith 1980-01-02", "normal"],
        ["DOE^JOHN", "ROE^JANE"],
        ["001", "002"],
        ["101", "102", "103"],
        [str(number) for number in range(1, 22)],
        [f"Miller_{number}" for number in range(6)],
        ["s01", "s02", "s03"],
        ["a81bc81b-dead-4e5d-abff-90865d1e13b1", "normal"],
        ["MRN0012345", "MRN0012346"],
        ["case 7 (follow-up)", "case 8"],
        [f"BraTS20_Training_{number:03d}" for number in range(1, 7)],
        ["OAS1_0001_MR1", "OAS1_0001_MR2", "OAS1_0002_MR1"],
        ["002_S_0295", "003_S_0302", "005_S_0316"],
        ["SOB_B_A-14-22549AB", "SOB_M_DC-14-2523"],
        ["TCGA-02-0001", "TCGA-02-0003", "TCGA-06-0122"],
        ["120_2019", "121_2019", "122_2018"],
        ["10.01.19", "11.02.19"],
        ["10-Jan-2019", "3 März 2020"],
        ["a87ff679", "c4ca4238", "c81e728d"],
        ["pt-a87ff6", "pt-c4ca42", "pt-c81e72"],
        ["HM190", "EM233", "UH007"],
        ["HansM_1970", "EvaM_1965"],
        ["Miller, Hans", "Meyer, Eva"],
        ["SubjectA", "SubjectB"],
        [f"{number}.5" for number in range(40, 52)],
        [f"{number}.0" for number in range(40, 52)],
        ["M45", "F50", "M62", "F39"],
        ["HM1", "EM2", "UH3", "KS4", "AB5"],
        ["A12", "B7", "C33", "D4"],
        ["7B", "12A", "3C", "9F"],
        ["Pat A", "Pat B", "Fall C"],
        ["caseA", "caseB", "caseC"],
        ["Mr. Smith 45y", "Mrs. Doe 61y", "Mr. Poe 70y"],
    ],
)
def test_people(names):
    reason = identifier_evidence(names)
    assert reason
    assert identifier_evidence(names, 4 * len(names))
    assert not any(name in reason for name in names if len(name) > 3)


def test_the_number_of_images_decides_about_small_numbers():
    digits = [str(digit) for digit in range(10)]
    assert identifier_evidence(digits, 2000) == ""
    assert identifier_evidence(digits, 40) == "10 of 10 are numbers"
    many = [str(number) for number in range(26)]
    assert identifier_evidence(many, 26 * 60) == ""
    assert identifier_evidence(many, 26 * 40)


def test_many_names_for_few_images():
    names = ["".join(chr(97 + int(d)) for d in f"{n:02d}") for n in range(25)]
    assert identifier_evidence(names, 25 * 5) == ""
    assert identifier_evidence(names, 24 * 5) == "25 of them for 120 images"


def test_names_that_are_alike():
    assert alike_names(["No Finding", "no_finding ", "Hernia", "1", "1.0", "01"]) == 5
    assert alike_names(["É", "E\u0301"]) == 2
    assert alike_names(["ill", "ill (1)", "well", "well - Copy", "rare"]) == 4
    assert alike_names(["0,0", "0", "1.0", "grade (1)", "grade (2)"]) == 2
    assert alike_names(["TB +", "TB -", "a", "b"]) == 0


@pytest.mark.parametrize(
    "names",
    [
        ["Meier", "Huber", "Weber"],
        ["Anna_Schmidt", "Bernd_Huber", "Carla_Weber"],
        ["SMITH JOHN", "DOE JANE", "O'Neil, Bob"],
        ["AB", "CD", "EF", "GH"],
        ["José", "Zoë", "Łukasz"],
        ["Meier", "Huber", "Weber", "Schmidt", "Fischer", "normal"],
        ["Meier_65", "Huber 2", "Weber"],
        ["Meier", "Huber", "Weber", "normal"],
        ["normal_Meier", "normal_Huber", "tumor_Weber", "tumor_Schmidt", "normal_Lang"],
        ["KopfMRT_Meier", "KopfMRT_Huber", "KopfMRT_Weber"],
        ["chest_CT_Meier_Hans", "chest_CT_Huber_Eva"],
    ],
)
def test_plain_names_of_people(names):
    assert may_be_people(names, 5 * len(names))
    assert may_be_people(names, 600 * len(names)), "scans of so many slices"
    assert may_be_people(names[:2], 10)
    assert not may_be_people(names, 1001 * len(names)), "so many images are a class"


@pytest.mark.parametrize(
    "names",
    [
        ["glioma", "meningioma", "notumor", "pituitary"],
        ["nv", "mel", "bkl", "bcc", "akiec", "vasc", "df"],
        ["Atelectasis", "Effusion", "Hernia", "No Finding"],
        ["NonDemented", "VeryMildDemented", "MildDemented"],
        ["EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"],
        ["dyed-lifted-polyps", "esophagitis", "normal-z-line", "ulcerative-colitis"],
        ["Lung_Opacity", "Normal", "Viral Pneumonia"],
        ["AbdomenCT", "BreastMRI", "ChestCT", "CXR", "Hand", "HeadCT"],
        ["gutartig", "bösartig", "normal"],
        ["ill", "well"],
        ["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"],
        ["A2C", "A4C"],
        ["all", "hem"],
        ["smoker", "never smoker"],
        ["polyps", "dyed polyps"],
        ["CT_COVID", "CT_NonCOVID"],
        ["Homogeneous", "Speckled", "Nucleolar", "Centromere", "NuMem", "Golgi"],
        ["falciparum", "vivax", "ovale", "malariae"],
        ["ASC-US", "LSIL", "HSIL", "NILM"],
        ["норма", "патология"],
        ["정상", "폐렴"],
        ["καρκίνος", "φυσιολογικό"],
        ["dyed-lifted-polyps", "dyed-resection-margins", "normal-cecum", "normal-z-line"],
        ["COVID19", "flu"],
        ["frontal", "lateral"],
        ["COPD", "IPF"],
        ["epidural", "subdural", "intraventricular"],
        ["Adenocarcinoma", "Seminoma"],
        ["a", "b", "c", "d"],
        ["0", "1", "2", "3"],
        ["grade 1", "grade 2", "grade 3"],
    ],
)
def test_words_that_labels_are_made_of(names):
    assert not may_be_people(names, 2 * len(names))
