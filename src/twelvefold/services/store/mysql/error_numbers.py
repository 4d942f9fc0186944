"""The numbers of MySQL's and MariaDB's errors, by their meaning for a step.

An error in no list is the database's, and may persist. Source: the error references of MySQL 9 and
MariaDB 10.11. Up to 1899 the numbers of both have the same meaning, from 1900 on they differ.
"""

GONE = {
    *(1040, 1041, 1042, 1043, 1047, 1053, 1077, 1078, 1079, 1129, 1203, 1836, 1874, 1881),
    *(2002, 2003, 2006, 2013, 2014, 2055),
    9001,  # ProxySQL: no server of the group answers
}
"""The connection is lost, or the server cannot be used now, or accepts no more connections."""
READ_ONLY = {1836, 1874}
"""The server takes no writes; part of `GONE`. 1290 may mean the same, by its text."""
GONE_MYSQL = {3032, 3068, 3168, 3169, 3783, 4031, 6400}
GONE_MARIADB = {1927}

TRY_AGAIN = {1020, 1028, 1180, 1205, 1206, 1213, 1297, 1317, 1412, 1613, 1614, 1615, 1637, 1689}
"""The server has rolled back the transaction or the statement, which can be repeated."""
TRY_AGAIN_MYSQL = {3058, 3100, 3101, 3177, 3197, 3572, 3781, 3782, 3797, 3798, 3989}
TRY_AGAIN_MARIADB = {1964, 3058}

EXHAUSTED = {3, 5, 20, 23, 1021, 1037, 1038, 1114, 1135, 1151, 1226, 1461, 1878, 3015, 3044}
"""A limit of the server, its disk or the account is reached: load must fall, or an operator act.

Those below 1000 are of the servers' library: writing, memory, disk full, open files.
"""
EXHAUSTED_MYSQL = {3019, 3675, 3950, 3985, 4081, 4082}
EXHAUSTED_MARIADB = {4139}

TOO_LARGE = {1153, 1162, 1301}
"""A packet or a value exceeds max_allowed_packet."""
DUPLICATE = {1062, 1586}
NO_TABLE = 1146

STATEMENT = {
    # The text: unknown names, wrong syntax, wrong use.
    NO_TABLE,
    *(1049, 1051, 1054, 1055, 1056, 1057, 1059, 1060, 1063, 1064, 1065, 1066, 1067, 1083),
    *(1084, 1093, 1096, 1097, 1102, 1103, 1104, 1106, 1107, 1108, 1109, 1110, 1111, 1112, 1113),
    *(1115, 1116, 1117, 1118, 1120, 1128, 1137, 1139, 1140, 1149, 1166, 1175, 1176, 1191, 1193),
    *(1204, 1210, 1214, 1221, 1225, 1228, 1229, 1230, 1231, 1232, 1233, 1234, 1235, 1238, 1247),
    *(1248, 1250, 1253, 1267, 1270, 1271, 1272, 1273, 1283, 1288, 1295, 1305, 1318, 1327, 1347),
    *(1348, 1368, 1382, 1390, 1393, 1394, 1395, 1425, 1426, 1427, 1439, 1443, 1462, 1463, 1471),
    *(1473, 1475, 1525, 1578, 1582, 1583, 1584, 1630, 1649, 1691, 1706, 1735, 1747, 1764, 1791),
    # Tables and columns that it would define.
    *(1050, 1061, 1068, 1069, 1070, 1071, 1072, 1073, 1074, 1075, 1089, 1090, 1091, 1101, 1121),
    *(1163, 1164, 1167, 1170, 1171, 1173, 1215, 1239, 1280, 1291, 1293, 1294, 1304, 1709, 1821),
    *(1822, 1824, 1826, 1831),
    # Its values, and the rows that they would make.
    *(1256, 1258, 1259, 1260, 1265, 1299, 1300, 1364, 1366, 1369, 1411, 1423, 1526, 1591, 1713),
    *(1737, 1748, 1882),
    # The same, from proxies that send another SQLSTATE than the servers.
    *(1022, 1048, 1052, 1058, 1136, 1138, 1169, 1216, 1217, 1222, 1241, 1242, 1263, 1264, 1292),
    *(1365, 1367, 1406, 1416, 1441, 1451, 1452, 1690, 1761, 1762, 1859),
    # Its triggers and functions.
    *(1172, 1179, 1312, 1314, 1321, 1329, 1335, 1336, 1339, 1415, 1422, 1424, 1442, 1456, 1568),
    *(1643, 1644, 1645, 1646),
    # A type or a function of both, above 1899.
    *(3008, 3033, 3034, *range(3038, 3043), 3055, 3057, 3061),
}
"""The statement or its values are wrong, whatever the SQLSTATE."""
STATEMENT_MYSQL = {
    # Order, groups, windows, common table expressions.
    *(3028, 3029, 3064, 3065, 3066, 3087, 3088, 3568, 3569, *range(3573, 3578)),
    *(*range(3579, 3596), 3601, 3602, 3636, 3667, 3668, 3670, 3942, 3943, 3953, 3954, 3994),
    *(4048, 4075, 4086, 4114, 4120, 4163, 4169, 6034, 6036, 6108, 6413, 6429, 6430, 6432),
    # JSON, places, patterns, strings, times, vectors.
    *(3069, 3070, 3071, 3072, 3073, 3134, 3143, 3148, 3149, 3152, 3153, 3154, 3165, 3513, 3514),
    *(3521, 3548, 3643, 3672, 3676, 3677, 3684, 3685, 3686, *range(3688, 3701), 3854, 3882, 3887),
    *(3900, 3902, 3905, 3906, 3908, 3912, 3934, 3987, 3988, 3995, 3997, 3998, 4007, 4074, 4122),
    *range(6134, 6139),
    # Generated columns, checks, foreign keys, views over JSON.
    *(3105, 3819, 6575, 6577, *range(6485, 6503), 6519, 6560, 6579),
}
STATEMENT_MARIADB = {
    *(1906, 1919, 1920, 1922, 1970, 1977, *range(4002, 4025), 4025, 4026, 4028, 4029, 4032),
    *(*range(4035, 4047), *range(4048, 4052), 4074, 4076, *range(4078, 4084), 4089, 4090, 4091),
    *(4092, *range(4099, 4108), 4109, 4122, 4124, 4140, 4141, 4142, 4161, 4162, 4172),
    *(*range(4176, 4181), 4183, 4187),
}
