"""No two test runs or benches are in one DDS domain."""

from twin_nodes.app.bench.domain import DOMAINS, take_domain


def test_a_domain_is_taken_once_until_it_is_given_back(monkeypatch, tmp_path):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    first, second, after_all = take_domain(7), take_domain(7), take_domain(DOMAINS - 1)
    assert (first[0], second[0], after_all[0]) == (7, 8, DOMAINS - 1)
    assert take_domain(DOMAINS - 1)[0] == 1, 'not 0, which is where all are that name none'
    first[1].close()
    assert take_domain(7)[0] == 7


def test_all_are_taken_before_one_is_shared(monkeypatch, tmp_path):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    taken = [take_domain(30) for _ in range(DOMAINS - 1)]
    assert sorted(domain for domain, _ in taken) == list(range(1, DOMAINS))
    assert take_domain(30) == (30, None)


def test_it_is_not_that_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    for own in range(DOMAINS):
        monkeypatch.setenv('ROS_DOMAIN_ID', str(own))
        domain, lock = take_domain()
        assert domain not in (0, own)
        lock.close()
