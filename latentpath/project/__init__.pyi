from latentpath.project.project import (
    ProjectResult as ProjectResult,
    run_project as run_project,
)
from latentpath.project.project_config import ProjectConfig as ProjectConfig
from latentpath.project.project_status import (
    ProjectStatus as ProjectStatus,
    is_project as is_project,
    read_project as read_project,
)
from latentpath.project.resolution_choice import reading_side as reading_side
from latentpath.project.time_trial import (
    StageEstimate as StageEstimate,
    estimate_lines as estimate_lines,
    estimate_times as estimate_times,
    time_generator as time_generator,
)
