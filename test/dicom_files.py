"""Small DICOM series with known truth, and with a patient whose name must not leak."""

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT = {'PatientName': 'Musterfrau^Erika', 'PatientID': 'ID-4711-SECRET', 'PatientBirthDate': '19640812'}
SERIES, FRAME = generate_uid(entropy_srcs=['series']), generate_uid(entropy_srcs=['frame'])


def new_file(path, sop_class, number):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path), str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = SERIES, FRAME
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=['study'])
    for key, value in PATIENT.items():
        setattr(dataset, key, value)
    return dataset


def set_pixels(dataset, pixels, bits=16):
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 'MONOCHROME2'
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 1 if bits == 16 else 0
    if bits == 1:
        packed = np.packbits(pixels.astype(np.uint8).ravel(), bitorder='little').tobytes()
        dataset.PixelData = packed + b'\0' * (len(packed) % 2)
    else:
        dataset.PixelData = pixels.astype('<i2' if bits == 16 else 'u1').tobytes()


def write_slice(folder, name, position, pixels, *, axes=(1, 0, 0, 0, 1, 0), spacing=(2.0, 1.0), number=1, **fields):
    folder.mkdir(exist_ok=True)
    dataset = new_file(folder / name, '1.2.840.10008.5.1.4.1.1.2', number)
    dataset.Modality = 'CT'
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = [float(value) for value in axes]
    dataset.PixelSpacing = [float(value) for value in spacing]
    dataset.InstanceNumber = number
    dataset.SliceThickness = 0.7  # a lie: the steps are others
    dataset.RescaleSlope, dataset.RescaleIntercept = 2.0, -1024.0
    set_pixels(dataset, pixels)
    for key, value in fields.items():
        setattr(dataset, key, value)
    dataset.save_as(folder / name, enforce_file_format=True)


def write_series(folder, stored, *, step=3.0, origin=(10.0, 20.0, 30.0), axes=(1, 0, 0, 0, 1, 0), shear=0.0, **fields):
    """Write stored values (slices, rows, columns), named and numbered against their order."""
    normal = np.cross(axes[:3], axes[3:])
    for k, pixels in enumerate(stored):
        position = np.array(origin) + k * step * normal + k * shear * np.array(axes[3:])
        number = (7 * k + 3) % 100
        write_slice(folder, f'{number:03d}.dcm', position, pixels, axes=axes, number=len(stored) - k, **fields)


def write_segmentation(path, masks, *, step=3.0, origin=(10.0, 20.0, 30.0), spacing=(2.0, 1.0), empty=False):
    """Write binary masks {(number, label): (slices, rows, columns)} as one SEG; frames without pixels left out."""
    dataset = new_file(path, '1.2.840.10008.5.1.4.1.1.66.4', 1)
    dataset.Modality, dataset.SegmentationType = 'SEG', 'BINARY'
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    measures.PixelSpacing, measures.SpacingBetweenSlices = list(spacing), step
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.SegmentSequence, groups, frames = Sequence(), [], []
    for (number, label), mask in masks.items():
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        dataset.SegmentSequence.append(segment)
        for k, pixels in enumerate(mask):
            if not pixels.any() and not empty:
                continue
            group, place, which = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = [origin[0], origin[1], origin[2] + k * step]
            which.ReferencedSegmentNumber = number
            group.PlanePositionSequence = Sequence([place])
            group.SegmentIdentificationSequence = Sequence([which])
            groups.append(group)
            frames.append(pixels)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.NumberOfFrames = len(frames)
    set_pixels(dataset, np.array(frames), bits=1)
    dataset.save_as(path, enforce_file_format=True)
