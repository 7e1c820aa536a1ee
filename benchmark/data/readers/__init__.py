"""One module a data set; the module's name is the data set's, as in `--data autopet=DIR`.

Every module has

    spec_of(root) -> DatasetSpec      its facts; `root` None: of files that are still to be written (phantoms only)
    discover(root) -> list[Case]      its labelled cases, sorted by id, without opening an image

and may have

    unlabelled(root) -> list[Case]    cases without a label, for `bench predict`
    remarks(root) -> list[Finding]    what is odd about the folder and concerns no single case
    own_splits(root) -> Path | None   the folds that lie beside the images, used where the user names none
    PHANTOMS: Phantoms                it reads what the suite writes itself, in place of another data set
"""
