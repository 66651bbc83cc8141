"""Who runs each command of the docs: a pattern of the command, the test or script, and what its file says.

What nobody runs stands in NOT_RUN with the reason; its words are held against the parser of its program all
the same, by tests/doc_commands.py.
"""

STAGES, OWN, CLUSTERS = "tests/test_stages.py", "tests/test_own_ids.py", "tests/test_clusters.py"
GRID = f"{STAGES}::test_the_grid_runs"
EXPERIMENTS = f"{STAGES}::test_experiments_run_and_stand_in_one_readable_table"
IDS = f"{OWN}::test_one_named_target_ends_with_the_ids_of_all_pairs"
CLONE = f"{CLUSTERS}::test_a_clone_has_ids_from_ratings_alone"
ARRAY = f"{CLUSTERS}::test_jobs_of_an_array_leave_in_the_cache_what_the_repo_takes_up"
JUDGED = "tests/stages/test_judged.py::test_all_parts_then_verdicts"
STUDY = "tests/test_study.py"
RUNS = "tests/docs/test_runs.py"
DOWNLOADS = "tests/docs/test_downloads.py"
PARTS_ADDED = "tests/stages/test_parts_added.py::test_a_rater_on_pixels_is_one_file_and_one_line"

COVERED: list[tuple[str, str, str]] = [
    # --- make, and what it calls
    (r"make repro|\./repro|dvc repro", ".ci/run", "make repro"),
    (r"make quick|\./study quick", ".ci/run", "make quick"),
    (r"\./study --help", "tests/test_study.py::test_help_says_what_every_study_is", '"--help"'),
    (r"python -m stages", "tests/stages/test_help.py::test_every_command_is_listed_in_a_line", '"stages"'),
    (r"make test|pytest|mypy|ruff .*", ".ci/run", "make test"),
    (r"make test PYTEST=.*|make repro CONSTRAINTS=",
     "tests/test_make.py::test_a_second_run_installs_only_what_changed", "CONSTRAINTS="),
    (r"make docs", "tests/test_make.py::test_the_site_is_built_with_its_warnings_as_errors", '"docs"'),
    (r"sphinx-build .*", "tests/docs/test_site.py::test_it_is_built_without_a_warning", '"sphinx"'),
    (r"\.ci/run", ".github/workflows/ci.yml", ".ci/run"),
    (r"pip install (-c constraints\.txt )?-e \.(\[dev\])?", ".ci/environment", "pip install"),
    (r"apt-get install chromium", ".ci/run", "chromium texlive"),
    (r"\. \.venv/bin/activate",
     "tests/test_make.py::test_a_second_run_installs_only_what_changed", "VIRTUAL_ENV="),
    (r"dvc config --local core\.no_scm true",
     "tests/test_make.py::test_without_history_dvc_is_told_so", "no_scm"),
    (r"\./repro 8",
     "tests/test_repro.py::test_every_stage_is_asked_for_once_and_a_cell_is_trained_before_it_is_measured",
     "repro"),
    # --- targets of dvc repro
    (r"dvc repro sizes|dvc repro prune|dvc repro copies|dvc repro prepare", IDS, '"prune"'),
    (r"dvc repro prune@.*|dvc repro (floors|codec@star|copies codec@star|encode floors( prune)?)",
     GRID, '"repro"'),
    (r"dvc repro --single-item check prune", CLONE, "--single-item check prune"),
    (r"dvc repro --force prepare",
     "tests/stages/test_verify.py::test_what_git_keeps_is_not_missed_in_the_cache", "force=True"),
    (r"dvc --wait-for-lock repro|xargs .*",
     "tests/test_clusters.py::test_stages_side_by_side_lose_nothing_of_each_other", "--wait-for-lock repro"),
    # --- experiments, plots
    (r"dvc exp run( -S)?( (\+\+)?(grid|scales|selections)\..*)?|dvc exp run -S scale=small .*",
     EXPERIMENTS, '"exp", "run"'),
    (r"dvc exp run copies -S pool=(NAME|mine)",
     f"{RUNS}::test_an_experiment_settles_another_pool_and_runs_nothing_after_it", '"exp", "run", "copies"'),
    (r"dvc exp show.*", EXPERIMENTS, '"exp", "show"'),
    (r"dvc exp apply .*", EXPERIMENTS, '"exp", "apply"'),
    (r"dvc metrics show", EXPERIMENTS, '"metrics", "show"'),
    (r"dvc plots.*", EXPERIMENTS, '"plots", "diff"'),
    (r"\./study show|\./study", EXPERIMENTS, "stages.experiments"),
    # --- clusters
    (r"dvc (remote add|pull|list|status)( .*)?|dvc push( data.*)?|git (add|commit) .*|git init|sed .*",
     CLONE, "dvc pull --quiet data/pool"),
    (r"dvc (gc|push --run-cache|commit -f encode@star|repro --pull)|dvc config core\.hardlink_lock true",
     f"{CLUSTERS}::test_a_run_cache_that_was_pushed_is_fetched_and_nothing_is_computed", "repro --pull"),
    (r"bash docs/slurm\.sh .*|dvc stage list .*", ARRAY, "bash docs/slurm.sh"),
    (r"sbatch --array=0-(8|11%8) .*",
     "tests/test_slurm.py::test_the_page_s_commands_make_a_grid_on_two_nodes_whatever_is_preempted",
     "train, rest = lines()"),
    # --- stages by themselves
    (r"python -m stages\.(NAME|check)",
     "tests/stages/test_check.py::test_the_repos_params_are_sound_and_nothing_is_written", "stages.check"),
    (r"python -m stages\.plan.*", f"{RUNS}::test_a_plan_of_params_laid_over_is_written", "stages.plan"),
    (r"python -m stages\.schema", f"{RUNS}::test_the_schema_is_made_anew", "stages.schema"),
    (r"python -m stages\.export.*", CLONE, "stages.export"),
    (r"python -m stages\.prune .*", PARTS_ADDED, '"prune"'),
    (r"python -m stages\.score.*--engine ray.*",
     "tests/passes/test_on_ray.py::test_a_node_that_is_killed_loses_its_shards_in_flight_at_most",
     "cluster.address"),
    (r"sbatch --array=0-63 .*|srun( -n 64 .*)?",
     "tests/test_slurm.py::test_scores_by_an_array_and_by_srun_are_those_of_one_process", "srun -n 2"),
    (r"torchrun --nproc-per-node 8 -m stages\.score|python -m stages\.score --task .*",
     "tests/stages/test_score.py::test_a_launcher_s_processes_leave_the_same_bytes", "WORLD_SIZE"),
    (r"python -m stages\.score.*",
     "tests/stages/test_score.py::test_ratings_are_those_of_the_stage_rate_whatever_the_shards", "score"),
    (r"python -m stages\.encode .*",
     "tests/passes/test_shards.py::test_parts_by_number_are_the_whole", "parts"),
    (r"python -m stages\.explain .*",
     "tests/report/test_explanation.py::test_every_rater_and_every_subset_has_its_line", "explain.run"),
    (r"python -m stages\.icons.*",
     "tests/stages/test_icons.py::test_every_layout_and_order_holds_the_same_pairs", "run(layout, order"),
    (r"python -m stages\.verify( --mend)?",
     "tests/stages/test_verify.py::test_damage_is_named_and_mended", "mend"),
    (r"python -m stages\.verify --remote .*",
     "tests/stages/test_verify.py::test_a_remote_is_read_too_and_left_alone", "remote="),
    (r"python -m stages\.(register|judge|history) .*", JUDGED, "judge"),
    (r"python -m tests\.closure .*", f"{RUNS}::test_the_closure_of_a_stage_is_printed", "tests.closure"),
    (r"python -m tests\.faults", "tests/test_faults.py::test_a_fault_can_be_planted", "Fault"),
    # --- studies: the script with programs that note what they are asked for
    (r"\./study NAME --plan|\./study (pilot|table1) --plan.*",
     f"{STUDY}::test_a_plan_takes_the_lists_of_its_study_and_runs_nothing", "--plan"),
    (r"\./study (table[1-4]|figure(2b|3|6)|sweep|controls|credits|pools|icons|pilot|signs|small|"
     r"small_flux|flux|adapted|NAME)( -S .*)?",
     f"{STUDY}::test_every_study_asks_for_a_sound_grid", "NAMES"),
    (r"\./study (confirm|crowded)( .*)?", JUDGED, "part.run"),
    (r"-S .*|-S", f"{STUDY}::test_every_study_asks_for_a_sound_grid", "-S"),
    # --- data sets of the paper, as miniatures
    (r"hf download( .*)?|dvc exp run copies -S pool=flux_reason_6m .*",
     f"{DOWNLOADS}::test_flux_reason_is_downloaded_and_settled", '"flux_reason", "hpdv3", "mjhq30k"'),
    (r"cat datasets/hpdv3/.*|gunzip|tar .*|unzip .*|dvc exp run copies -S pool=hpdv3_2m .*",
     f"{DOWNLOADS}::test_hpdv3_is_downloaded_unpacked_and_settled", 'settles("hpdv3")'),
    (r"datasets/img2dataset/bin/img2dataset .*|dvc exp run copies -S pool=laion30m .*",
     f"{DOWNLOADS}::test_laion_is_downloaded_by_img2dataset_and_settled", 'settles("laion")'),
    (r"python3 -m venv datasets/img2dataset|datasets/img2dataset/bin/pip install img2dataset==1\.47\.0 .*",
     ".ci/run", "install --quiet img2dataset==1.47.0 "),
    (r"hf auth login", "tests/pools/test_huggingface.py::"
     "test_a_gated_data_set_is_read_by_its_name_at_a_revision_after_a_login", '"hf auth"'),
    # --- launchers
    (r"torchrun( --n.*)?|accelerate launch .*",
     "tests/core/test_fsdp.py::test_a_course_takes_it_from_the_launcher", "launcher"),
]  # fmt: skip

NOT_RUN: list[tuple[str, str]] = [
    (r"pip install (dvc-s3|dvc-ssh|-e \.\[(fuzz|ray|docs)\])|pre-commit install",
     "an extra of one's own choice"),
    (r"dvc queue", "the pages say that it is untried"),
    (r"git (diff|log) .*", "looks at history, which an archive has not"),
    (r"make torture|python -m torture.*", "forty minutes; tests/ has a quick half of each part"),
    (r"python -m benchmarks.*",
     "measures speed or finished runs, minutes to hours; tests/docs/test_runs.py imports each"),
]  # fmt: skip
