from dataclasses import replace

from taskdepth.results.regions import region_names


def test_regions_have_names_only_when_found(regions) -> None:
    assert region_names(regions) == [("shared", 1, 3), ("transition", 4, 5), ("refinement", 6, 8)]
    assert region_names(replace(regions, found=False)) == []
    assert region_names(None) == []
    two = replace(regions, boundaries=(4,), intervals=((4, 4),), names=("region_1", "region_2"))
    assert region_names(two) == [("region_1", 1, 4), ("region_2", 5, 8)]
