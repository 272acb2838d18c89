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
    at_resolution as at_resolution,
)
from latentpath.production.digits_demo import (
    run_demo as run_demo,
)
from latentpath.production.environment import info_lines as info_lines
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
from latentpath.production.gate import Gate as Gate
from latentpath.production.group_members import people_behind as people_behind
from latentpath.production.network_training import train_network as train_network
from latentpath.production.prepared_endpoints import (
    Endpoints as Endpoints,
)
from latentpath.production.prepared_endpoints import (
    prepare_endpoints as prepare_endpoints,
)
from latentpath.production.prepared_endpoints import (
    safe_endpoints as safe_endpoints,
)
from latentpath.production.produce_config import ProduceConfig as ProduceConfig
from latentpath.production.run import (
    Options as Options,
)
from latentpath.production.run import (
    OutputConfig as OutputConfig,
)
from latentpath.production.run import (
    RunConfig as RunConfig,
)
from latentpath.production.run import (
    RunFolder as RunFolder,
)
from latentpath.production.run import (
    RunResult as RunResult,
)
from latentpath.production.run import (
    perform_run as perform_run,
)
from latentpath.production.run.card import add_audit as add_audit
from latentpath.production.run.result import synthetic_set as synthetic_set
from latentpath.production.run.run_folder import write_durably as write_durably
from latentpath.production.run.run_status import (
    read_status as read_status,
)
from latentpath.production.run.run_status import (
    status_json as status_json,
)
from latentpath.production.run.run_verification import verify_run as verify_run
from latentpath.production.run.summary import (
    seal_line as seal_line,
)
from latentpath.production.run.summary import (
    shortage_lines as shortage_lines,
)
from latentpath.production.run.summary import (
    summary_lines as summary_lines,
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
from latentpath.production.verification import verify_set as verify_set
from latentpath.production.walking import render as render
from latentpath.production.write import (
    check_output as check_output,
)
from latentpath.production.write import (
    produce as produce,
)
from latentpath.production.write import (
    write_set as write_set,
)
