from latentpath.production.bundle import (
    ASSETS as ASSETS,
    FILES as FILES,
    NEEDED as NEEDED,
    Bundle as Bundle,
    load_bundle as load_bundle,
    people_fingerprint as people_fingerprint,
)
from latentpath.production.comparison import (
    Baselines as Baselines,
    check_comparison as check_comparison,
    compare as compare,
    make_baselines as make_baselines,
    profile_along as profile_along,
)
from latentpath.production.digits_demo import (
    DEMO_AUDIT as DEMO_AUDIT,
    DEMO_CONFIG as DEMO_CONFIG,
    DemoResult as DemoResult,
    run_demo as run_demo,
)
from latentpath.production.environment import (
    info_lines as info_lines,
)
from latentpath.production.fingerprints import (
    AgreedSettings as AgreedSettings,
    arithmetic as arithmetic,
    check_same as check_same,
    data_fingerprint as data_fingerprint,
    models_fingerprint as models_fingerprint,
    read_object as read_object,
    write_object as write_object,
)
from latentpath.production.gate import (
    Gate as Gate,
)
from latentpath.production.group_members import (
    group_people as group_people,
    people_behind as people_behind,
    walk_people as walk_people,
)
from latentpath.production.network_training import (
    check_classes as check_classes,
    check_resolution as check_resolution,
    check_validation as check_validation,
    train_network as train_network,
)
from latentpath.production.prepared_endpoints import (
    Endpoints as Endpoints,
    at_resolution as at_resolution,
    prepare_endpoints as prepare_endpoints,
    safe_endpoints as safe_endpoints,
)
from latentpath.production.produce_config import (
    DpConfig as DpConfig,
    EndpointsConfig as EndpointsConfig,
    FastOptions as FastOptions,
    GateConfig as GateConfig,
    ProduceConfig as ProduceConfig,
    PublishedOptions as PublishedOptions,
    SafeOptions as SafeOptions,
    StyleOptions as StyleOptions,
    WalkOptions as WalkOptions,
    WeightOptions as WeightOptions,
)
from latentpath.production.published_entries import refuse_identifiers as refuse_identifiers
from latentpath.production.run.produce_run import (
    produce as produce,
    store_times as store_times,
)
from latentpath.production.run.recovery import (
    add_audit as add_audit,
)
from latentpath.production.run.run_config import (
    OutputConfig as OutputConfig,
    RunConfig as RunConfig,
    RunOptions as RunOptions,
)
from latentpath.production.run.run_folder import (
    RunFolder as RunFolder,
    write_durably as write_durably,
)
from latentpath.production.run.run_result import (
    RunResult as RunResult,
    compared_sets as compared_sets,
    seal_line as seal_line,
    shortage_lines as shortage_lines,
    summary_lines as summary_lines,
    synthetic_set as synthetic_set,
)
from latentpath.production.run.run_status import (
    RunStatus as RunStatus,
    read_status as read_status,
)
from latentpath.production.run.run_verification import (
    verify_run as verify_run,
)
from latentpath.production.selection import check_promise as check_promise
from latentpath.production.style import (
    StyleConfig as StyleConfig,
    align_style as align_style,
)
from latentpath.production.synthetic import (
    SyntheticSet as SyntheticSet,
    produce_set as produce_set,
)
from latentpath.production.training_needs import (
    NETWORKS as NETWORKS,
    DueTraining as DueTraining,
    TrainingConfig as TrainingConfig,
    begun_otherwise as begun_otherwise,
    due_trainings as due_trainings,
    kept_lines as kept_lines,
    untold as untold,
)
from latentpath.production.verification import (
    verify_set as verify_set,
)
from latentpath.production.walking import (
    choose_metric as choose_metric,
    render as render,
    walk_pairs as walk_pairs,
)
from latentpath.production.weights_folder import (
    absent_networks as absent_networks,
    check_networks as check_networks,
    folder_lines as folder_lines,
    ready_networks as ready_networks,
)
