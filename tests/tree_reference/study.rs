//! Counts that `study.py`, beside this file, prints: the Python study's own search over the same
//! worlds.

use tokenzero::tree::*;

use super::rollouts::{Memory, search};
use super::world::World;

/// What the study's own `simulate`, `select`, `rollout`, `best_child` and `traces` left after 200
/// simulations on a world: seed, whether leaves are rolled out (else valued), c_puct, first-play
/// urgency, minimum prior, depth limit, nodes, hash of all visit counts, forward passes, return
/// of the root, best path by visits and by mean return (hexadecimal tokens), trajectories, sum of
/// their weights, sum of their targets.
struct Study(
    u64,
    bool,
    f32,
    f32,
    f32,
    u32,
    usize,
    u64,
    u32,
    f64,
    &'static str,
    &'static str,
    usize,
    u32,
    f64,
);

#[rustfmt::skip]
const STUDY: &[Study] = &[
    Study(1, true, 1.0, 0.0, 0.01, 20, 74, 0xd899_eac3_5d85_9c87, 63, 188.000, "60", "60", 10, 669, -28.035),
    Study(2, false, 2.0, 0.2, 0.01, 12, 2, 0x0ad9_f107_b72c_6f50, 0, 82.617, "0", "0", 0, 0, 0.000),
    Study(3, true, 1.5, 0.2, 0.01, 20, 368, 0xde25_2a7a_609d_bdef, 333, 164.000, "760", "760", 34, 1131, 199.572),
    Study(4, false, 1.0, 0.0, 0.05, 12, 98, 0x6a9e_b850_3844_27f1, 89, 109.705, "88521590", "88521590", 0, 0, 0.000),
    Study(5, true, 2.0, 0.0, 0.05, 20, 309, 0xab02_bfe9_187a_4c25, 269, 144.000, "9325290", "9325290", 39, 1718, 101.242),
    Study(6, false, 1.5, 0.2, 0.05, 12, 31, 0x3620_e802_b671_04e5, 28, 173.725, "90", "90", 0, 0, 0.000),
    Study(7, true, 1.0, 0.2, 0.05, 20, 164, 0x223b_b09b_62f9_bc3a, 146, 174.000, "2380", "2380", 17, 1176, 16.820),
    Study(8, false, 2.0, 0.0, 0.01, 12, 55, 0xe878_2344_8d51_e056, 51, 133.855, "8250", "8250", 0, 0, 0.000),
    Study(9, true, 1.5, 0.0, 0.01, 20, 335, 0xb49b_e122_f0a1_d7a3, 300, 128.000, "360", "360", 34, 1182, -28.045),
    Study(10, false, 1.0, 0.2, 0.01, 12, 32, 0x9f5c_71b5_4b3d_b746, 29, 168.201, "530", "530", 0, 0, 0.000),
    Study(11, true, 2.0, 0.2, 0.01, 20, 612, 0x1aa0_9cf5_660b_03d0, 537, 90.000, "55585a0", "566430", 74, 1736, 47.243),
    Study(12, false, 1.5, 0.0, 0.05, 12, 21, 0x5fb9_2a06_fd4e_10e3, 18, 149.950, "0", "0", 0, 0, 0.000),
    Study(13, true, 1.0, 0.0, 0.05, 20, 539, 0x4ffb_5903_f1f9_aba9, 484, 156.000, "5550", "5550", 54, 1558, 300.904),
    Study(14, false, 2.0, 0.2, 0.05, 12, 28, 0xd486_2dd4_4003_a2bf, 24, 171.825, "0", "0", 0, 0, 0.000),
    Study(15, true, 1.5, 0.2, 0.05, 20, 269, 0xb06e_d1fe_378b_c597, 240, 172.000, "6850", "690", 28, 1164, 123.175),
    Study(16, false, 1.0, 0.0, 0.01, 12, 101, 0x5ab5_228d_7fb9_c618, 91, 56.083, "9488270", "9488270", 0, 0, 0.000),
    Study(17, true, 2.0, 0.0, 0.01, 20, 150, 0xae44_a487_b4bb_b431, 125, 160.000, "2860", "2860", 24, 1131, 15.972),
    Study(18, false, 1.5, 0.2, 0.01, 12, 15, 0x69e7_2cd9_754d_0553, 10, 163.093, "0", "0", 0, 0, 0.000),
    Study(19, true, 1.0, 0.2, 0.01, 20, 90, 0x2888_7750_e564_e8c5, 78, 190.000, "10", "10", 11, 706, -7.848),
    Study(20, false, 2.0, 0.0, 0.05, 12, 90, 0xe267_a7e4_c8d8_29f9, 80, 81.907, "8933240", "8933240", 0, 0, 0.000),
    Study(21, true, 1.5, 0.0, 0.05, 20, 460, 0x0426_eadf_8de3_5bc9, 405, 126.000, "85820", "85820", 54, 1515, 15.478),
    Study(22, false, 1.0, 0.2, 0.05, 12, 39, 0x1475_505c_4391_c5bc, 34, 89.872, "288940", "288940", 0, 0, 0.000),
    Study(23, true, 2.0, 0.2, 0.05, 20, 2, 0x0ad9_f107_b72c_6f50, 0, 200.000, "0", "0", 1, 399, 2.000),
    Study(24, false, 1.5, 0.0, 0.01, 12, 91, 0xab95_57e7_81c8_f030, 84, 108.089, "32270", "32270", 0, 0, 0.000),
];

/// Visit counts depth first, continuations in their order.
fn counts(tree: &Tree, node: NodeId, out: &mut Vec<u32>) {
    out.push(tree.visits(node));
    for child in tree.children(node).filter_map(|child| child.node) {
        counts(tree, child, out);
    }
}

fn study_search(
    seed: u64,
    rollout: bool,
    simulations: usize,
    params: Params,
) -> (Tree, u32, Vec<u32>) {
    let world = World {
        seed,
        max_depth: params.max_depth,
    };
    let params = Params {
        lambda: f32::from(rollout),
        ..params
    };
    let (tree, forwards) = search(&world, &params, simulations, 1, Memory::Used);
    let mut visits = Vec::new();
    counts(&tree, tree.root(), &mut visits);
    (tree, forwards, visits)
}

#[test]
fn the_study_left_the_same_trees() {
    for row in STUDY {
        let &Study(seed, rollout, c_puct, first_play_urgency, min_prior, max_depth, ..) = row;
        let &Study(.., nodes, hash, forwards, total, by_visits, by_mean, found, weights, targets) =
            row;
        let params = Params {
            c_puct,
            first_play_urgency,
            min_prior,
            max_depth,
            ..Params::default()
        };
        let (tree, cost, visits) = study_search(seed, rollout, 200, params);
        let digest = visits.iter().fold(0xcbf2_9ce4_8422_2325, |x: u64, &n| {
            (x ^ u64::from(n)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(
            (visits.len(), digest, cost),
            (nodes, hash, forwards),
            "world {seed}"
        );
        assert!(
            (tree.total(tree.root()) - total).abs() < 2e-3,
            "world {seed}"
        );
        for (pick, path) in [(Pick::Visits, by_visits), (Pick::MeanReturn, by_mean)] {
            let end = *tree.best_path(pick).last().unwrap();
            let digits = tree
                .tokens(end)
                .iter()
                .map(|t| format!("{t:x}"))
                .collect::<String>();
            assert_eq!(digits, path, "world {seed}, {pick:?}");
        }
        let trajectories = tree.trajectories();
        assert_eq!(trajectories.len(), found, "world {seed}");
        let weight: f32 = trajectories.iter().flat_map(|t| &t.weights).sum();
        let target: f64 = trajectories
            .iter()
            .flat_map(|t| &t.targets)
            .map(|&x| f64::from(x))
            .sum();
        assert_eq!(weight, weights as f32, "world {seed}");
        assert!((target - targets).abs() < 2e-3, "world {seed}");
    }
}

#[test]
fn the_study_left_the_same_visits() {
    let params = Params {
        max_depth: 12,
        ..Params::default()
    };
    let (_, _, visits) = study_search(101, true, 40, params.clone());
    assert_eq!(
        visits,
        [
            40, 39, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 20, 18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12,
            12, 6, 4, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 2, 1, 0, 0, 0, 1, 1,
            0, 0, 0, 0, 0, 0, 0, 4, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
        ]
    );
    let params = Params {
        c_puct: 1.0,
        first_play_urgency: 0.2,
        ..params
    };
    let (_, _, visits) = study_search(102, false, 60, params);
    assert_eq!(
        visits,
        [
            60, 48, 39, 1, 35, 32, 5, 1, 3, 2, 1, 25, 2, 1, 1, 21, 1, 1, 2, 2, 1, 2, 1, 1, 7, 3, 2,
            2, 1, 3, 1, 1, 11, 5, 3, 2, 2, 1, 1, 5, 3, 2, 2, 1, 1
        ]
    );
}
