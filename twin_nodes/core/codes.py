"""Stable diagnostic codes: one entry for each thing that can be wrong, with its meaning and its mend."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodeEntry:
    """What `twin explain CODE` prints.

    Args:
        title: The fault in a few words.
        meaning: What was seen and what the node does about it.
        mend: What a person can do.
    """

    title: str
    meaning: str
    mend: str


CODES: dict[str, CodeEntry] = {
    # of any message, and of the nodes themselves
    'OK': CodeEntry('all is well', 'The check passed.', 'Nothing to do.'),
    'CALLBACK_FAILED': CodeEntry(
        'a callback raised an unexpected error', 'The message was dropped, the node lives on.', 'Please report the log.'
    ),
    'NOT_FINITE': CodeEntry(
        'NaN or Inf in a pose', 'The sample was dropped and counted.', 'Find the sender; a bad tool file does this.'
    ),
    'NO_COVARIANCE': CodeEntry(
        'a pose without a stated error',
        'The covariance of the position is zero, which ROS reads as unknown. It would be taken '
        'for an error of 0, so the message was dropped.',
        'Let the sender state its covariance, or take its poses in through tracker_node.',
    ),
    'NOT_A_ROTATION': CodeEntry(
        'the matrix is not a right-handed rotation',
        'Determinant below zero, shear, or a quaternion whose norm is off by more than 1e-2. Sample dropped.',
        'Check row/column order and handedness at the sender.',
    ),
    'UNIT_SUSPECT': CodeEntry(
        'the values look like another unit',
        'The position is outside the workspace by about a factor of 1000. Sample dropped.',
        'The sender may send millimetres as metres (or the reverse): set the source unit.',
    ),
    'FRAME_MISMATCH': CodeEntry(
        'the message is in another frame', 'Dropped; both names are in the diagnostic.', 'Fix the frame_id or the YAML.'
    ),
    'NO_TRANSFORM': CodeEntry(
        'a transform of the chain is missing at the stamp', 'The sample was dropped.', 'Run `twin why TOPIC`.'
    ),
    # stamps and clocks
    'LATE': CodeEntry(
        'a sample came after a newer one',
        'Within `filter.lag` it is placed where it belongs and improves the newest pose; none is published for it.',
        'Nothing to do; many of them mean a network that reorders.',
    ),
    'STAMP_BACKWARD': CodeEntry(
        'a stamp older than the buffer', 'The sample came later than the fixed lag. Dropped.', 'Check the network.'
    ),
    'OUT_OF_ORDER': CodeEntry(
        'a stamp that is not after the last one of its stream',
        'The soft body, the breath and the forces go forward in time only. The sample was dropped.',
        'Many of them mean two senders on one topic, or a network that reorders.',
    ),
    'STAMP_DUPLICATE': CodeEntry('the same stamp twice', 'The second sample was dropped.', 'Check the sender.'),
    'STAMP_ZERO': CodeEntry(
        'stamp 0', 'CRTK marks invalid data with stamp 0. The sample is treated as lost.', 'Nothing, if meant so.'
    ),
    'STAMP_FUTURE': CodeEntry(
        'a stamp from the future',
        'The stamp lies ahead of the clock by more than the limit. Dropped.',
        'Synchronise the clocks (chrony, PTP).',
    ),
    'STAMP_STALE': CodeEntry(
        'the message is too old',
        'Its stamp lies further behind the clock than `max_age`. It was not used.',
        'Check the network and the clocks.',
    ),
    'CLOCK_JUMP': CodeEntry(
        'time jumped back', 'All buffers were cleared.', 'Expected when a bag loops; else check the clock.'
    ),
    'CLOCK_UNSETTLED': CodeEntry(
        'the device clock offset is not known well yet',
        'Too few packets for the offset estimate, or its sigma is above the limit.',
        'Wait a few seconds; if it stays, the network delay varies too much.',
    ),
    # trackers
    'SOURCE_DISCONNECTED': CodeEntry(
        'the tracker source is not connected',
        'The connection was refused, closed or timed out. The node tries again with a growing pause.',
        'Start the server, check host and port (`twin check config/tracker.yaml`).',
    ),
    'SOURCE_STALLED': CodeEntry(
        'the source is connected but sends nothing',
        'No frame arrived for longer than `stale_after`.',
        'Check the tracker itself; `twin why TOPIC` names the first silent link.',
    ),
    'SOURCE_FINISHED': CodeEntry(
        'the recording has ended',
        'The recording was played to its end and the source stopped.',
        'Nothing to do; use `loop` to play it again.',
    ),
    'DEVICE_STATUS': CodeEntry(
        'the device reports a fault of its own',
        'An OpenIGTLink STATUS message other than OK arrived; its text is in the diagnostic.',
        'See the device manual for that text.',
    ),
    'UNKNOWN_DEVICE': CodeEntry(
        'the source sends a device that is not configured',
        'Readings of devices that `device_names` does not list were left out.',
        'Nothing, if meant so; else add the device to `tracking.device_names` and a tool for it.',
    ),
    'CRC_WRONG': CodeEntry(
        'OpenIGTLink body fails its checksum', 'The message was dropped.', 'Check the network and the sender.'
    ),
    'CRC_MISSING': CodeEntry(
        'OpenIGTLink bodies come without a checksum',
        'The sender writes CRC 0. The messages are taken, but an error on the wire cannot be seen.',
        'Switch the checksum on at the sender.',
    ),
    'PROTOCOL': CodeEntry(
        'bytes that are not OpenIGTLink',
        'Header unreadable or a body above the limit: the connection is closed and opened again.',
        'Is this the right port?',
    ),
    'STUCK': CodeEntry(
        'the source repeats the very same values',
        'More than the allowed number of bit-identical poses in a row with moving stamps.',
        'Is the tracker frozen? A simulator at rest does this too.',
    ),
    'TOOL_LOST': CodeEntry(
        'the tracker does not see the tool',
        'The source said MISSING/INVALID, left the tool out of a frame, or wrote zeros. Nothing is published for it '
        'until it is seen again; the last pose is never repeated.',
        'Clear the line of sight, check the tool file and the field of view.',
    ),
    'TOOL_NEVER_SEEN': CodeEntry(
        'a configured tool was never delivered',
        'The source runs, but no reading carries this device name.',
        'Compare the device names listed in the diagnostic with `device_names` in the YAML.',
    ),
    'OUT_OF_WORKSPACE': CodeEntry(
        'the tool is outside the tracker workspace',
        'Distance to the tracker origin above `max_distance`. Sample dropped.',
        'Raise `max_distance` if the tracker really reaches so far.',
    ),
    'OUTSIDE_CALIBRATION': CodeEntry(
        'the sensor is outside the volume in which the distortion was measured',
        'The electromagnetic correction is known only there, so the sample was dropped and not extrapolated.',
        'Move back into the volume, or measure the distortion there too (`twin calibrate distortion`).',
    ),
    'GATED': CodeEntry(
        'the pose jumped further than the tool can move',
        'The innovation failed the speed or chi-square gate. Sample dropped; after several consistent ones in a row '
        'the filter starts again there.',
        'Reflections and swapped markers do this; check the tool geometry.',
    ),
    'SWAPPED': CodeEntry(
        'a tool is seen where another was',
        'The tool jumped to the place of another tool. Its samples are dropped (GATED) until it jumps away or is lost.',
        'Marker bodies that look alike are mistaken for one another: check their geometry files.',
    ),
    # cameras and printed tags
    'CAMERA_UNUSABLE': CodeEntry(
        'the camera calibration cannot be used',
        'A CameraInfo, calibration file or point that the camera model cannot take; the message says which value.',
        'Calibrate the camera (`twin calibrate camera`), or give the calibration of this camera and image size.',
    ),
    'IMAGE_UNUSABLE': CodeEntry(
        'an image cannot be used for tracking',
        'Its size is not that of the calibration, its encoding is not known, or it cannot be decoded. It was left out.',
        'Set the camera to the size that it was calibrated at; see the message for encodings.',
    ),
    'IMAGE_SKIPPED': CodeEntry(
        'images come faster than they can be looked at',
        'A newer image took the place of one that waited. Poses come at the rate that is possible.',
        'Lower the rate or size of the images, or run fewer bodies and families.',
    ),
    'MARKER_TOO_SMALL': CodeEntry(
        'a tag is too small in the image',
        'A side is below `visual.min_side_px`. The tag was not used.',
        'Move nearer, print larger tags, or use a camera with more pixels.',
    ),
    'MARKER_GRAZING': CodeEntry(
        'a tag is seen too much from the side',
        'Its normal is farther from the line of sight than `visual.max_view_angle`. The tag was not used.',
        'Turn the body, or put tags on more of its sides.',
    ),
    'MARKER_DICTIONARY': CodeEntry(
        'the tags in the image are of another family',
        'No tag of the configured dictionary was found for some images, but another family finds some.',
        'Set `visual.dictionary` to the family that the message names.',
    ),
    'MARKER_DUPLICATE': CodeEntry(
        'an id is more than once in one image',
        'Which of them is on the body cannot be known, so none was used.',
        'Take the other print, its mirror image or the screen that shows it out of the view.',
    ),
    'MARKER_UNKNOWN': CodeEntry(
        'a tag is on no body',
        'Its id is in none of the body files and `visual.tag_size` is 0. It was left out.',
        'Nothing, if meant so; else add it to a body file.',
    ),
    'MARKER_REPROJECTION': CodeEntry(
        'the pose does not explain the corners',
        'The corners lie farther from where the pose puts them than `visual.max_reprojection`, or carry no pose.',
        'Check the body file against the print, the tag size, and the camera calibration.',
    ),
    'MARKER_BEHIND': CodeEntry(
        'no pose lies in front of the camera',
        'The corners fit no pose in front of the camera. Nothing is published for the body.',
        'Check the order of the corners in the body file.',
    ),
    'MARKER_AMBIGUOUS': CodeEntry(
        'two poses explain a tag equally well',
        'A small flat tag looks the same tilted to and fro. Nothing is published until the motion or the image tells.',
        'Tilt or move the body, go nearer, or use a body with tags on different planes.',
    ),
    'MARKER_INCONSISTENT': CodeEntry(
        'a tag does not fit the others of its body',
        'The pose was found without it.',
        'Measure where this tag sits and mend the body file; look for dirt or a bent print.',
    ),
    # calibration, registration and breathing
    'NOT_CALIBRATED': CodeEntry(
        'the tool tip is not known',
        'No calibration for the tool has been published yet, so nothing that needs the tip is computed.',
        'Pivot the tool (calibration_node says how) or give a calibration file.',
    ),
    'CALIBRATING': CodeEntry(
        'a calibration is being collected', 'Progress and what is missing are in the message.', 'Follow the message.'
    ),
    'CALIBRATION_REFUSED': CodeEntry(
        'the calibration data do not carry an answer', 'See the message for the reason.', 'Follow the message.'
    ),
    'NOT_REGISTERED': CodeEntry(
        'patient and anatomy are not tied',
        'No registration yet, so no distance to the anatomy is published.',
        'Touch the landmarks (registration_node says which are missing) or give a registration file.',
    ),
    'REGISTRATION_REFUSED': CodeEntry(
        'the fiducials do not carry a registration',
        'Too few, collinear, ambiguous or too far from the model; see the message.',
        'Touch the named landmarks again.',
    ),
    'REGISTRATION_POOR': CodeEntry(
        'the registration is above its warning limit',
        'Residuals, free motions or the gap between landmarks and surface are above a warning limit; see the message.',
        'Touch the worst landmark again, or swab where the surface curves otherwise.',
    ),
    'REGISTRATION_SUSPECT': CodeEntry(
        'a landmark or a swab does not fit the registration any more',
        'One observation lies farther off than the stated errors explain; it may be a slip of the hand. The '
        'registration is used unchanged.',
        'Touch another landmark, or swab again, to tell a slip from a drift.',
    ),
    'REGISTRATION_DRIFTED': CodeEntry(
        'the registration has drifted',
        'Several landmarks or swabs lie where the registration does not put them: the patient has moved against its '
        'reference body, or the body, the tip or the tracker has changed. Nothing is corrected by itself: all '
        'distances are still those of the old registration.',
        'Stop, check the reference body, and register anew (`~/reset` of registration_node).',
    ),
    'LEARNING': CodeEntry(
        'the breath or the target is still being learned',
        'respiration_node has not seen enough of the markers, or not enough fixes of the target; it publishes none.',
        'Let the markers run, and send fixes of the target on `respiration/fix`, spread over the breath.',
    ),
    'FIX_UNUSED': CodeEntry(
        'a fix of the target was not used',
        'The markers were not seen at its stamp, or hardly moved over all fixes; the message says which.',
        'Stamp fixes with the time of measurement, and take them in all phases of the breath.',
    ),
    # the patient: models, carving
    'ANATOMY_REFUSED': CodeEntry(
        'a surface or volume cannot be used', 'See the message for the reason and the counts.', 'Repair the file.'
    ),
    'REMOVED_BEHIND': CodeEntry(
        'messages about removed voxels were lost',
        'A delta of `anatomy/removed` is missing. What arrived is used; the next snapshot closes the gap.',
        'Nothing, if it goes away within `snapshot_period`.',
    ),
    'CARVE_PATH_BROKEN': CodeEntry(
        'the path of the drill was broken',
        'The drill was off, not seen, or jumped by more than `carving.max_gap` or `carving.max_step`. Nothing between '
        'the two poses was carved; a new path began.',
        'Keep the drill in sight while it cuts; bone that was cut unseen is still shown.',
    ),
    'CARVE_UNSURE': CodeEntry(
        'the drill is not known well enough to carve',
        'σ of the tip is above `carving.carver.max_sigma`, or that of the place of tissue that deforms above '
        '`carving.tissue_sigma`. The pose carved nothing.',
        'See which link costs most (`twin frames`), calibrate or register anew; show the surface of the organ, or '
        'raise `carving.tissue_sigma` to cut unseen tissue where it is predicted.',
    ),
    'DRILL_SWITCH_EMPTY': CodeEntry(
        'the word of a drill says neither on nor off',
        'A sensor_msgs/Joy on `<tool>/drilling` has no button. It was dropped; the drill is as it was.',
        'Say the first of the buttons: 1 for on, 0 for off.',
    ),
    'STRUCTURE_CUT': CodeEntry(
        'the drill has cut a protected structure',
        'Voxels of a structure named in `protected` were covered by the burr.',
        'Stop; check the registration.',
    ),
    'REPLAY_LATE': CodeEntry(
        'in a replay, what has its own stamp was heard after its turn',
        'A plane, a cloud, a pressure, jaws or the switch of a drill: the poses had gone on already, and it counts '
        'later than it did live. Another replay may differ.',
        'Play more slowly (`--rate`), start the nodes before `twin play --wait`, or raise `deforming.event_wait` or '
        '`carving.switch_wait`.',
    ),
    # soft tissue
    'LOADS_REFUSED': CodeEntry(
        'what acts on the soft body cannot be used',
        'Held nodes, springs, pressure or forces do not fit the mesh, or are not finite. The last good state stays.',
        'See the message; nodes are counted from 0 in the mesh of the case.',
    ),
    'MATERIAL_MISSING': CodeEntry(
        'a label of the mesh has no material',
        'Each label of the tetrahedra needs a law; the message names those without.',
        'Add the labels to the materials of the case.',
    ),
    'NOT_POSITIVE_DEFINITE': CodeEntry(
        'the soft body is held by nothing',
        'Its stiffness matrix has no Cholesky factor: no node is fixed, held, tied or supported, or the state is '
        'unstable.',
        'Fix some nodes, or give the body a soft support.',
    ),
    'DEFORM_LATE': CodeEntry(
        'the solver of the soft body ran out of time',
        'A frame took longer than `deforming.budget`; the best answer so far was sent, its residual is in the values.',
        'Fewer tetrahedra, a larger budget, or a lower rate.',
    ),
    'DEFORM_NOT_CONVERGED': CodeEntry(
        'the soft body is not at rest yet',
        'The iterations of a frame ended before the forces were in balance; the next frame goes on from there.',
        'Nothing, if it goes away; else raise `deforming.session.solver.max_iterations`.',
    ),
    'DEFORM_FAILED': CodeEntry(
        'the solver of the soft body found no state',
        'What came of a frame is no state of the tissue: no step helped, or tetrahedra would be turned inside out, or '
        'tissue displaced by more than the body measures, or its forces are less in balance than before. The last good '
        'mesh stands, with its old stamp; nothing new is sent. The message says which.',
        'Let go of the tissue, look whether two tools pull against each other, or call `anatomy/reset_deformation`.',
    ),
    'DEFORMATION_REFUSED': CodeEntry(
        'what was seen of the organ tells no deformation',
        'Too few points, or a cloud that the organ cannot be bent to: another organ, a mirrored or scaled cloud, a '
        'registration that is far off. The last good state stays.',
        'See the reasons; show more of the surface, check unit and axes, register anew.',
    ),
    'OBSERVED_REFUSED': CodeEntry(
        'a cloud of surface points was refused',
        'It does not show this organ: too far off, mirrored, of another size, too few points, or it fits only an '
        'impossible deformation; the message names what. The anatomy stays as it was.',
        'See the message; check the frame of the cloud, its segmentation and the registration.',
    ),
    'OBSERVED_DOUBTFUL': CodeEntry(
        'a cloud of surface points fits poorly',
        'It was used, but a limit of good fits is passed; the message names which.',
        'See more of the surface, or less of what is not the organ.',
    ),
    'GRASP_MISSED': CodeEntry(
        'the jaws closed where there is no tissue',
        'The surface, as it is known, lies farther from the tip than `deforming.session.grasp.reach`.',
        'Open and close again at the tissue; if the jaws did hold it, check registration and calibration.',
    ),
    'GRASP_LOST': CodeEntry(
        'a tool holds no tissue any more',
        'Its tip jumped, was not seen for `deforming.max_age`, or had to pull the tissue beyond `max_pull`.',
        'Open and close the jaws to take hold again.',
    ),
    'RESECTION_REFUSED': CodeEntry(
        'a plane takes nothing away, or everything',
        'A plane on anatomy/resect has no direction, or all or none of the tissue that is left lies beyond it. The '
        'tissue stays as it is.',
        'Give a x + b y + c z + d = 0 in the frame of the anatomy and in metres, (a, b, c) towards what is taken away.',
    ),
    # its stiffness
    'MATERIAL_TEST_REFUSED': CodeEntry(
        'a compression test or its fit cannot be used',
        'The table lacks strain or stress, its units or numbers contradict each other, or no law follows the curve.',
        'See the message for the file, the line and the reason; state units in the titles of the columns, and the '
        'diameter and height of the specimen above them.',
    ),
    'STIFFNESS_REFUSED': CodeEntry(
        'stiffness cannot be estimated from this',
        'No displacement or force was seen, or what is given does not fit the body. The last good state stays.',
        'See the message: give at least one frame with seen points, and their errors in metres.',
    ),
    'STIFFNESS_RATIO': CodeEntry(
        'only ratios of stiffness are known',
        'What was seen are displacements without a force: all twice as stiff would look the same. The level is held.',
        'Measure a force (`deforming.learning.forces`), or press the organ with a known pressure.',
    ),
    'STIFFNESS_UNSEEN': CodeEntry(
        'what was seen tells nothing of this stiffness',
        'The tissue was not moved enough where it matters, or too little of it was seen. It is held as assumed.',
        'Pull it farther, elsewhere, and look at more of it; look once while no tool holds it.',
    ),
    'STIFFNESS_DOUBTFUL': CodeEntry(
        'the model does not explain what was seen',
        'No stiffness leads to what was seen within its errors: another support, law or grasp. It stays as assumed.',
        'Check `fixed` and `support`, the registration and the calibration of the tool.',
    ),
    'LEARNING_SKIPPED': CodeEntry(
        'a cloud is not learned from',
        'Nothing held or pressed the tissue, it was moved too little, or a tool was not still, or pushed.',
        'Hold the tissue still for `learning.window` before the cloud; look once while no tool holds it.',
    ),
    'LEARNING_FAILED': CodeEntry(
        'the process that estimates the stiffness has ended',
        'It was killed, as when memory is short. The anatomy is followed on with the stiffness that it has.',
        'It begins anew with the next cloud; give the machine more memory, or the case fewer tetrahedra.',
    ),
    'ENSEMBLE_REFUSED': CodeEntry(
        'an ensemble of soft bodies cannot be solved',
        'No member, no rest under the loads, or a load or size that the batched solver does not handle.',
        'See the message; solve with device=numba, on a coarser mesh, or with smaller loads.',
    ),
    # what a hand feels of it
    'TRAINING_REFUSED': CodeEntry(
        'the reduced model cannot be learned from these states',
        'Too few solved states, some that did not converge, a contact that never moves, or loads it does not know.',
        'Solve more states with the contact moved as it will be, then learn again.',
    ),
    'REDUCED_REFUSED': CodeEntry(
        'a reduced model cannot be used',
        'There is none of that name, its file is damaged, or it was learned from another mesh, law or support.',
        'Learn it again with `twin reduce CASE --at X Y Z --settings FILE` and the settings of the node.',
    ),
    'REDUCED_ELSEWHERE': CodeEntry(
        'the jaws closed where no reduced model was learned',
        'Their tip is farther from each learned patch than `haptics.max_offset`. The full model speaks.',
        'Learn that place too: `twin reduce CASE --at X Y Z --name NAME`.',
    ),
    'REDUCED_OUTSIDE': CodeEntry(
        'the tissue is moved beyond what the reduced model has learned',
        'It is pulled or turned farther, or in another way, than while it was learned. The full model speaks.',
        'Learn it with a greater --reach or --turn.',
    ),
    'REDUCED_APART': CodeEntry(
        'the tissue lies elsewhere than the reduced model says',
        'A cloud, a cut, pressure or another tool has moved it, or the jaws hold other nodes. The full model speaks.',
        'It ends when both agree again; `haptics.max_apart` is the limit.',
    ),
    'REDUCED_NO_FRAME': CodeEntry(
        'there is no young frame of the full model to stand in',
        'The reduced model has no answer, and no `anatomy/reaction/<tool>` came within `max_age`.',
        'Run anatomy_node with deforming.enabled and this tool in deforming.tools.',
    ),
    'FORCE_HIGH': CodeEntry(
        'the tissue is pulled or pushed too hard',
        'The force by the model of the organ (haptics), or the measured one beside a profile (guidance), is above '
        'its `alarm_force`.',
        'Ease off; where the tissue is stiffer or softer than assumed, learn its stiffness, or measure its profile.',
    ),
    # guidance and routes
    'STRUCTURE_NEAR': CodeEntry(
        'the tool is near a protected structure',
        'Distance below the zone `near`.',
        'Mind the structure.',
    ),
    'STRUCTURE_BREACHED': CodeEntry(
        'the tool is inside a protected structure', 'Distance below zero.', 'Withdraw; check the registration.'
    ),
    'CONTACT_AHEAD': CodeEntry(
        'the tool is about to touch a guarded structure',
        'From the predicted motion of the tool, with its uncertainty, the probability of a breach within '
        '`alarms.lead` is above `alarms.probability`.',
        'Slow down or turn away. If it comes too often, lower `alarms.lead` or raise `alarms.probability`.',
    ),
    'GUIDANCE_STALE': CodeEntry(
        'the guidance has no fresh pose', 'The tool or the patient is lost; the advice was withdrawn.', 'See tracker.'
    ),
    'LATENCY_TOO_LONG': CodeEntry(
        'poses are too old to be predicted up to now',
        'The time between the stamps and now is above `prediction.max_ahead`: the clock of the source is off, a '
        'recording is played without /clock, or the network is slow. The advice is of the time of measurement.',
        'Check the clock of the source (`twin why`); play bags with `twin play`, which gives /clock.',
    ),
    'SETPOINTS_SILENT': CodeEntry(
        'the advice of a replay waits for set points',
        '`setpoint_topic` is set, and its set points have not come as far as the poses: the topic is not in the '
        'recording, or ends in it. After a minute of stamps nothing is waited for any more.',
        'Name the topic as the recording has it, or leave `setpoint_topic` empty; `twin check BAG` lists the topics.',
    ),
    'PLAN_CLOSE': CodeEntry(
        'the burr is near the planned surface',
        'Less than `plan.depth.close` is left to it at the predicted pose.',
        'Slow down; `guidance/depth` tells what is left and how sure that is.',
    ),
    'PLAN_PASSED': CodeEntry(
        'the burr is beyond the planned surface',
        'At the predicted pose it is in what must stay; `overcut_mm3` of `guidance/depth` is what was cut there.',
        'Withdraw. Look at the registration if this comes too early: `twin register check`.',
    ),
    'FORCE_OFF_PROFILE': CodeEntry(
        'the measured force is not that of the profile',
        'At this depth and speed the table expects another force, by more than `force.limits.tolerance` and `share`.',
        'Another tissue, a slipped registration, a hard contact of the shaft, or a drifting sensor: look before going '
        'on. Measure the profile anew with `twin calibrate force` if it is of another tool.',
    ),
    'FORCE_TABLE_REFUSED': CodeEntry(
        'recorded strokes or forces cannot be used',
        'A column is missing, a cell is no number, times do not ascend, or too little of going in was recorded.',
        'See the message; columns are depth_m or depth_mm, force_n, and speed_m_s or t_s.',
    ),
    'NO_ROUTE': CodeEntry(
        'there is no route to the target',
        'No entry of the region reaches the target, or each way is likely to breach a structure; none is shown.',
        'Widen the entry region, take a thinner or bent tool, or improve the registration; the message says what '
        'stands in the way.',
    ),
    'ROUTE_CHANGED': CodeEntry(
        'the chosen route is no longer offered',
        'The anatomy or its error has changed and the plan was made anew; the best route goes in elsewhere.',
        'Look at the new routes on `guidance/routes` before you go on.',
    ),
    'ROUTE_LEFT': CodeEntry(
        'the tool has left its route',
        'The tip is farther from the chosen route than `leave_distance`; the next best route is named.',
        'Go back, or choose the other route on `guidance/route/choose`.',
    ),
    # robots
    'MODEL_REFUSED': CodeEntry(
        'the model of a robot cannot be used',
        'A URDF that is not sound: entities, a loop, no axis, limits that are no numbers, a mesh outside its folder.',
        'See the message; mend the file.',
    ),
    'JOINTS_WRONG': CodeEntry(
        'the joints of a message are not those of the robot',
        'Names missing, doubled or unknown, or another number of positions than names. The whole message was dropped.',
        'Check the model and the arm; name the joints as the robot does in `mirror.joints.names`. At the bridge: find '
        'the sender.',
    ),
    'JOINT_LIMIT': CodeEntry(
        'a joint is beyond its limit',
        'A position lies outside the limits of the model by more than the margin. The message was dropped.',
        'Check the unit (mm or degrees at the sender?), the model, and the homing of the arm.',
    ),
    'WRONG_ARM': CodeEntry(
        'the message comes from another arm',
        'Its frame belongs to another arm. It was dropped.',
        'Check `arm`, and the remappings of the topics.',
    ),
    'CRTK_MSGS_ABSENT': CodeEntry(
        'the messages of CRTK for states are not installed',
        'Motion is spoken in standard messages; operating_state, state_command and the services of the kinematics are '
        'not spoken.',
        '`make crtk`, or source a ROS 2 workspace that has crtk_msgs.',
    ),
    'ROBOT_STATE': CodeEntry(
        'the robot says that it is disabled, paused, at fault or not homed',
        'CRTK operating_state. Joint positions of an arm that is not homed mean nothing.',
        'Enable and home the arm at its console.',
    ),
    'ROBOT_SILENT': CodeEntry(
        'the robot sends nothing',
        'No good measured_js for longer than `silent_after`. Nothing is published for the arm.',
        'Is the robot on, and `arm` its name? `twin why <ARM>/measured_js` names the first silent link.',
    ),
    'ROBOT_INVALID': CodeEntry(
        'the robot says that its own state is invalid',
        'CRTK: measured_js came with stamp 0. Nothing is published for the arm until it is valid again.',
        'Home the arm.',
    ),
    'ROBOT_OFFSET': CodeEntry(
        'measured_cp is not where measured_js puts the tip',
        'The offset stayed above the limits; the message names what explains it: the tip, a joint, or the base.',
        'Set `tip` to the point that the robot reports, choose the model of its instrument, or home the joint again.',
    ),
    'SELF_CHECK_WAITS': CodeEntry(
        'the robot has not been checked against its model yet',
        'No pose of its tip in its own base has come, or not enough of them.',
        'Let the robot publish local/measured_cp, or move it.',
    ),
    'RCM_MOVED': CodeEntry(
        'the shaft misses its remote centre',
        'The shaft passes the centre that was estimated from its motion at more than `rcm.max_deviation`.',
        'The base or the trocar has moved, or a joint is off: stop, check, and estimate it anew (`~/reset`).',
    ),
    'UNREACHABLE': CodeEntry(
        'no joint positions reach the commanded pose',
        'The inverse kinematics found none within the limits. The command was dropped; the arm stays.',
        'Command a pose within reach.',
    ),
    # the link between two sites
    'KEY_FILE': CodeEntry(
        'the key of the bridge cannot be used',
        'The file is missing, can be read by others than its owner, or holds no key. The bridge does not start.',
        'Make one with `twin link key FILE` and copy it to the other site over a safe way; `chmod 600 FILE`.',
    ),
    'LINK_WAITING': CodeEntry(
        'there is no session with the other site yet',
        'No authentic answer has come. Nothing is sent and nothing is kept for later.',
        'Is the other bridge running, with the same key, the other role, and its UDP port open? Look at the counters.',
    ),
    'LINK_DEGRADED': CodeEntry(
        'the link loses much or is slow',
        'Loss or delay is above `degraded_loss` or `degraded_delay`, or commands come late or in gaps; they still come.'
        ' The robot slows down and bridges.',
        'Move slower; look for the cause in link/state (loss, delay, queue).',
    ),
    'LINK_OUTAGE': CodeEntry(
        'nothing authentic comes from the other site',
        'For longer than `hold_after` no datagram was authentic. What came before is not played again.',
        'Wait, or look at the network; counters of FORGED or OTHER_SESSION mean a wrong key or a stranger.',
    ),
    'LINK_HOLD': CodeEntry(
        'no valid command has been played for hold_after',
        'The link may live: the console may be silent, or its commands too old or from the future.',
        'Is the topic published at the other site? Look at silent_ms and the counters in link/state.',
    ),
    'LINK_CUT': CodeEntry(
        'the emulated cable is cut',
        'Nothing passes the relay until `relay/cut` says false.',
        'ros2 topic pub --once /relay/cut std_msgs/Bool "{data: false}"',
    ),
    'FORGED': CodeEntry(
        'a datagram fails its seal',
        'It was dropped before anything of it was read.',
        'A damaged path, another key, or somebody who tries.',
    ),
    'REPLAYED': CodeEntry(
        'a datagram came again',
        'Its counter was taken before, or is older than `replay_window`. Dropped.',
        'Networks double packets now and then; many of them mean somebody who tries.',
    ),
    'REFLECTED': CodeEntry(
        'a handshake of our own role came in', 'Dropped.', 'Do both bridges have the same role, or is one its own peer?'
    ),
    'OTHER_SESSION': CodeEntry(
        'a datagram of another session',
        'Dropped; it is of an earlier session, or of strangers.',
        'Normal for a moment after a restart.',
    ),
    'NOT_OURS': CodeEntry('bytes that are not of the bridge', 'Dropped.', 'Who else sends to this port?'),
    'TOO_MANY': CodeEntry(
        'more handshakes than are answered',
        'More than 20 a second; the rest is dropped.',
        'A bridge that restarts all the time, or somebody who tries.',
    ),
    'STAMP_OLD': CodeEntry(
        'a command is older than max_stamp_age when it comes to the bridge',
        'It was not sent.',
        'Is the clock of its sender right? Is the machine overloaded?',
    ),
    # commands over it
    'LINK_LOST': CodeEntry(
        'no valid command from the leader',
        'The robot stands.',
        'Check the link: `twin why <ARM>/servo_cp`, link/state.',
    ),
    'COMMAND_PUBLISHER': CodeEntry(
        'a command from another publisher',
        'The first publisher of a session is bound; commands of any other one are refused.',
        'Stop the second publisher; begin a new session when the leader has changed.',
    ),
    'COMMAND_NOT_FINITE': CodeEntry(
        'a command with NaN, infinity or a quaternion that is none', 'It was refused.', 'Correct the sender.'
    ),
    'COMMAND_FUTURE': CodeEntry(
        'a command from the future',
        'Its stamp lies ahead of the clock by more than `guard.max_ahead`. It was refused and extends no time-out.',
        'Check the clocks of both sites.',
    ),
    'COMMAND_STALE': CodeEntry(
        'a command that is too old',
        'Its stamp lies behind the clock by more than `guard.max_age`.',
        'Check the clocks.',
    ),
    'COMMAND_REPEATED': CodeEntry(
        'a command that was there already', 'Its number has passed before; it was not applied twice.', 'Nothing.'
    ),
    'COMMAND_ORDER': CodeEntry(
        'a command whose number and stamp do not rise together', 'It was refused.', 'Check who else sends; begin anew.'
    ),
    'COMMAND_FROZEN': CodeEntry(
        'a stamp that stands still', 'It is 0, or came more than `guard.max_repeats` times.', 'Check the sender.'
    ),
    'COMMAND_WORKSPACE': CodeEntry(
        'a command outside the workspace', 'It was refused.', 'Check `guard.low`, `guard.high` and the frame.'
    ),
    'COMMAND_SPEED': CodeEntry(
        'a command that is too far from the one before', 'It was refused.', 'Check `guard.max_speed` and the sender.'
    ),
    'COMMAND_TWIN': CodeEntry(
        'a command where the twin cannot be', 'It was refused.', 'Check the registration, or who else sends.'
    ),
    'ROBOT_DEVIATES': CodeEntry(
        'the robot is not where it was told to be',
        'It is further from its set point than `max_deviation`. Commands are refused until it is back; one that was '
        'told to stand and does not come within a second is let go, and begins anew where it stands.',
        'Is the robot blocked, too slow for the motion, out of its reach, or are its set point and its measured_cp in '
        'two frames? Then ask for `discard`.',
    ),
    'TWIN_DIVERGED': CodeEntry(
        'twin and reality part',
        'Nothing is replayed while they differ by more than `divergence.tolerance`.',
        'Look at the real picture; ask for `discard`.',
    ),
    'RESUME_NEEDED': CodeEntry(
        'the robot stands and waits for the operator',
        'The link was lost, motion became old, or a stop was asked for. Nothing is played without a request.',
        'Ask for `replay` (what was done in the twin), or `discard` (the robot goes to where the hand is).',
    ),
    'COMPLETION': CodeEntry(
        'the robot brings what it holds to its place by itself, or has stopped doing so',
        'The link is lost, and a person at the robot had allowed one completion. The reason says why it stopped.',
        'Watch it. `<ARM>/compensation/allow_completion` with false stops it; the link coming back does as well.',
    ),
    'GEOFENCE_MISSING': CodeEntry(
        'what must not be touched is not known',
        'A guarded structure has not come, or nobody says where the anatomy is. No command passes till both are known.',
        'Is anatomy_node running at the robot, and anatomy_pose_node? `twin why anatomy/measured_cp`, `anatomy.guard`.',
    ),
    'ANATOMY_UNPLACED': CodeEntry(
        'where the anatomy is cannot be told',
        'There is no transform from base_frame to the anatomy, or it is too old.',
        'Register the anatomy; `twin frames` shows the tree and which edge is missing.',
    ),
    # recording
    'RECORDER_BEHIND': CodeEntry(
        'the recorder drops messages', 'The queue to the disk is full.', 'Record fewer topics or use a faster disk.'
    ),
    'DISK_FULL': CodeEntry('no space for the bag', 'Recording stopped; what was written is whole.', 'Free some disk.'),
}
