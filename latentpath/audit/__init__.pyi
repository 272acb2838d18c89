from latentpath.audit.audit import (
    Audit as Audit,
)
from latentpath.audit.audit import (
    audit_real as audit_real,
)
from latentpath.audit.audit import (
    audit_set as audit_set,
)
from latentpath.audit.audit_report import report_on as report_on
from latentpath.audit.closest_record import record_ratio as record_ratio
from latentpath.audit.config import (
    BRIEF as BRIEF,
)
from latentpath.audit.config import (
    MEASURES as MEASURES,
)
from latentpath.audit.config import (
    QUICK as QUICK,
)
from latentpath.audit.config import (
    AuditConfig as AuditConfig,
)
from latentpath.audit.config import (
    chosen_measures as chosen_measures,
)
from latentpath.audit.drawing import (
    INK as INK,
)
from latentpath.audit.drawing import (
    LINE_COLOUR as LINE_COLOUR,
)
from latentpath.audit.drawing import (
    PALETTE as PALETTE,
)
from latentpath.audit.drawing import (
    QUIET_COLOUR as QUIET_COLOUR,
)
from latentpath.audit.drawing import (
    WALK_COLOUR as WALK_COLOUR,
)
from latentpath.audit.drawing import (
    house_style as house_style,
)
from latentpath.audit.drawing import (
    new_figure as new_figure,
)
from latentpath.audit.figures import (
    EnergyComparison as EnergyComparison,
)
from latentpath.audit.figures import (
    WalkProfile as WalkProfile,
)
from latentpath.audit.figures import (
    contact_sheet as contact_sheet,
)
from latentpath.audit.figures import (
    encode_png as encode_png,
)
from latentpath.audit.figures import (
    overview_figure as overview_figure,
)
from latentpath.audit.intervals import LEVEL as LEVEL
from latentpath.audit.limits import Limits as Limits
from latentpath.audit.matching import (
    Form as Form,
)
from latentpath.audit.matching import (
    in_form as in_form,
)
from latentpath.audit.matching import (
    with_classes as with_classes,
)
from latentpath.audit.measures import (
    SetAudit as SetAudit,
)
from latentpath.audit.measures import (
    measure_real as measure_real,
)
from latentpath.audit.measures import (
    measure_set as measure_set,
)
from latentpath.audit.membership import (
    MembershipConfig as MembershipConfig,
)
from latentpath.audit.membership import (
    MembershipReference as MembershipReference,
)
from latentpath.audit.membership import (
    measure_membership as measure_membership,
)
from latentpath.audit.membership import (
    prepare_membership as prepare_membership,
)
from latentpath.audit.reidentification import (
    Reidentification as Reidentification,
)
from latentpath.audit.reidentification import (
    reidentify as reidentify,
)
from latentpath.audit.report import (
    GateSummary as GateSummary,
)
from latentpath.audit.report import (
    Report as Report,
)
from latentpath.audit.report import (
    ReportSet as ReportSet,
)
from latentpath.audit.report import (
    write_report as write_report,
)
from latentpath.audit.sampling_error import t_quantile as t_quantile
from latentpath.audit.setting import Setting as Setting
from latentpath.audit.sources import attack_sources as attack_sources
from latentpath.audit.utility import (
    Utility as Utility,
)
from latentpath.audit.utility import (
    measure_utility as measure_utility,
)
from latentpath.audit.verdict import (
    SEVERITY as SEVERITY,
)
from latentpath.audit.verdict import (
    Verdict as Verdict,
)
