"""Other people's files: Pulseq, ISMRMRD, NIfTI, DICOM, twix. Foreign habits of unit, sign and order stop here."""
