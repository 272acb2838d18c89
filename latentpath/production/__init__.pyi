from latentpath.production.bundle import (
    ASSETS as ASSETS,
)
from latentpath.production.bundle import (
    FILES as FILES,
)
from latentpath.production.bundle import (
    Bundle as Bundle,
)
from latentpath.production.bundle import (
    load_bundle as load_bundle,
)
from latentpath.production.bundle import (
    people_fingerprint as people_fingerprint,
)
from latentpath.production.comparison import (
    Baselines as Baselines,
)
from latentpath.production.comparison import (
    check_comparison as check_comparison,
)
from latentpath.production.comparison import (
    compare as compare,
)
from latentpath.production.comparison import (
    make_baselines as make_baselines,
)
from latentpath.production.digits_demo import (
    DEMO_AUDIT as DEMO_AUDIT,
)
from latentpath.production.digits_demo import (
    DEMO_CONFIG as DEMO_CONFIG,
)
from latentpath.production.digits_demo import (
    DemoResult as DemoResult,
)
from latentpath.production.digits_demo import (
    run_demo as run_demo,
)
from latentpath.production.environment import (
    info_lines as info_lines,
)
from latentpath.production.fingerprints import (
    arithmetic as arithmetic,
)
from latentpath.production.fingerprints import (
    check_same as check_same,
)
from latentpath.production.fingerprints import (
    data_fingerprint as data_fingerprint,
)
from latentpath.production.fingerprints import (
    models_fingerprint as models_fingerprint,
)
from latentpath.production.gate import (
    Gate as Gate,
)
from latentpath.production.group_members import (
    people_behind as people_behind,
)
from latentpath.production.network_training import (
    train_network as train_network,
)
from latentpath.production.prepared_endpoints import (
    Endpoints as Endpoints,
)
from latentpath.production.prepared_endpoints import (
    at_resolution as at_resolution,
)
from latentpath.production.prepared_endpoints import (
    prepare_endpoints as prepare_endpoints,
)
from latentpath.production.prepared_endpoints import (
    safe_endpoints as safe_endpoints,
)
from latentpath.production.produce_config import (
    DpConfig as DpConfig,
)
from latentpath.production.produce_config import (
    EndpointsConfig as EndpointsConfig,
)
from latentpath.production.produce_config import (
    FastOptions as FastOptions,
)
from latentpath.production.produce_config import (
    GateConfig as GateConfig,
)
from latentpath.production.produce_config import (
    ProduceConfig as ProduceConfig,
)
from latentpath.production.produce_config import (
    PublishedOptions as PublishedOptions,
)
from latentpath.production.produce_config import (
    SafeOptions as SafeOptions,
)
from latentpath.production.produce_config import (
    StyleOptions as StyleOptions,
)
from latentpath.production.produce_config import (
    WalkOptions as WalkOptions,
)
from latentpath.production.produce_config import (
    WeightOptions as WeightOptions,
)
from latentpath.production.run.existing_set import (
    add_audit as add_audit,
)
from latentpath.production.run.produce_run import (
    produce as produce,
)
from latentpath.production.run.produce_run import (
    store_times as store_times,
)
from latentpath.production.run.run_config import (
    OutputConfig as OutputConfig,
)
from latentpath.production.run.run_config import (
    RunConfig as RunConfig,
)
from latentpath.production.run.run_config import (
    RunOptions as RunOptions,
)
from latentpath.production.run.run_folder import (
    RunFolder as RunFolder,
)
from latentpath.production.run.run_folder import (
    write_durably as write_durably,
)
from latentpath.production.run.run_result import (
    RunResult as RunResult,
)
from latentpath.production.run.run_result import (
    seal_line as seal_line,
)
from latentpath.production.run.run_result import (
    shortage_lines as shortage_lines,
)
from latentpath.production.run.run_result import (
    summary_lines as summary_lines,
)
from latentpath.production.run.run_result import (
    synthetic_set as synthetic_set,
)
from latentpath.production.run.run_status import (
    read_status as read_status,
)
from latentpath.production.run.run_status import (
    status_json as status_json,
)
from latentpath.production.run.run_verification import (
    verify_run as verify_run,
)
from latentpath.production.stage_times import (
    StageTimes as StageTimes,
)
from latentpath.production.style import (
    StyleConfig as StyleConfig,
)
from latentpath.production.style import (
    align_style as align_style,
)
from latentpath.production.synthetic import (
    SyntheticSet as SyntheticSet,
)
from latentpath.production.synthetic import (
    produce_set as produce_set,
)
from latentpath.production.verification import (
    verify_set as verify_set,
)
from latentpath.production.walking import (
    render as render,
)
