import pytest

from adreamer_jax.run.lock import alone


def test_a_second_run_is_sent_away_and_a_later_one_is_not(tmp_path):
    with alone(tmp_path / "run"):
        with pytest.raises(ValueError, match="one run at a time"):
            with alone(tmp_path / "run"):
                pass
        with alone(tmp_path / "other"):
            pass
    with alone(tmp_path / "run"):
        pass


def test_the_folder_is_free_after_a_failure(tmp_path):
    with pytest.raises(RuntimeError), alone(tmp_path):
        raise RuntimeError
    with alone(tmp_path):
        pass
