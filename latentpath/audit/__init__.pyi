from latentpath.audit.attacks.attacks_findings import (
    ATTACKS as ATTACKS,
    MembershipConfig as MembershipConfig,
)
from latentpath.audit.attacks.group_attack import attack_sources as attack_sources
from latentpath.audit.attacks.membership import (
    MembershipReference as MembershipReference,
    measure_membership as measure_membership,
    prepare_membership as prepare_membership,
)
from latentpath.audit.audit_config import (
    BRIEF as BRIEF,
    AuditConfig as AuditConfig,
    AuditLimits as AuditLimits,
)
from latentpath.audit.audit_setup import AuditSetup as AuditSetup, Subject as Subject
from latentpath.audit.closeness.closest_record import record_ratio as record_ratio
from latentpath.audit.fidelity.feature_comparison import (
    kernel_distance as kernel_distance,
    manifold_scores as manifold_scores,
)
from latentpath.audit.fidelity.feature_extractor import (
    AlexNetFeatures as AlexNetFeatures,
    extract_features as extract_features,
)
from latentpath.audit.image_forms import (
    Form as Form,
    in_form as in_form,
    with_classes as with_classes,
)
from latentpath.audit.question_costs import (
    QuestionCost as QuestionCost,
    WholeProgress as WholeProgress,
    audit_cost as audit_cost,
)
from latentpath.audit.recognition.reidentification import (
    Reidentification as Reidentification,
    reidentify as reidentify,
)
from latentpath.audit.registry import (
    Figure as Figure,
    Measure as Measure,
    Wing as Wing,
    all_measures as all_measures,
    chosen_measures as chosen_measures,
    measure_names as measure_names,
    quick_measures as quick_measures,
    register as register,
    wings as wings,
)
from latentpath.audit.report.audit_report import report_on as report_on
from latentpath.audit.report.measure_figures import (
    INK as INK,
    LINE_COLOUR as LINE_COLOUR,
    PALETTE as PALETTE,
    QUIET_COLOUR as QUIET_COLOUR,
    WALK_COLOUR as WALK_COLOUR,
    house_style as house_style,
    new_figure as new_figure,
)
from latentpath.audit.report.report_html import (
    check_packages as check_packages,
    check_report as check_report,
    summary_line as summary_line,
    write_report as write_report,
)
from latentpath.audit.report.report_model import (
    GateSummary as GateSummary,
    Report as Report,
    ReportSet as ReportSet,
    audit_schema as audit_schema,
)
from latentpath.audit.report.run_figures import (
    EnergyComparison as EnergyComparison,
    WalkProfile as WalkProfile,
    contact_sheet as contact_sheet,
    encode_png as encode_png,
    overview_figure as overview_figure,
)
from latentpath.audit.run_audit import (
    Audit as Audit,
    audit_set as audit_set,
    other_people as other_people,
)
from latentpath.audit.set_audit import (
    SetAudit as SetAudit,
    measure_real as measure_real,
    measure_set as measure_set,
)
from latentpath.audit.statistics.intervals import LEVEL as LEVEL
from latentpath.audit.statistics.sampling_error import t_quantile as t_quantile
from latentpath.audit.utility.classifier_utility import (
    Utility as Utility,
    measure_utility as measure_utility,
)
from latentpath.audit.verdict import (
    SEVERITY as SEVERITY,
    AspectVerdict as AspectVerdict,
    Evidence as Evidence,
    Finding as Finding,
    QuestionVerdict as QuestionVerdict,
    headline as headline,
    verdict_lines as verdict_lines,
)
