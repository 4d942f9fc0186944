-- The tables of the academy, for MySQL, MariaDB and SQLite.
--
-- Text is compared byte by byte, case-sensitively. This is the default of SQLite; MySQL and MariaDB
-- read the comment after each table, which sets the collation of the journal's tables, so that an
-- operator can join students.id to threads.principal. Money is in cents, a time of day in minutes
-- since midnight, a date is ISO text, weekday 1 is Monday.

create table if not exists departments (
  code varchar(16)  not null primary key,
  name varchar(100) not null
) /*! collate utf8mb4_bin */;

create table if not exists courses (
  code              varchar(32)   not null primary key,
  department        varchar(16)   not null,
  title             varchar(255)  not null,
  description       text          not null,
  prerequisite_note varchar(1000) not null,
  credit_hundredths integer       not null,
  search_text       text          not null, -- its words in lower case, with a blank before each
  unique (department, code),
  foreign key (department) references departments (code)
) /*! collate utf8mb4_bin */;

create table if not exists prerequisites (
  course_code varchar(32) not null,
  needs_code  varchar(32) not null,
  primary key (course_code, needs_code),
  foreign key (course_code) references courses (code)
) /*! collate utf8mb4_bin */;

create table if not exists sections (
  id          varchar(32)  not null primary key,
  course_code varchar(32)  not null,
  crsid       varchar(32)  not null, -- the course's id in the source catalogue
  title       varchar(255) not null, -- the topic, if the course has several
  term        integer      not null,
  starts_on   varchar(10)  not null,
  ends_on     varchar(10)  not null,
  price_cents integer      not null,
  capacity    integer      not null,
  seats_left  integer      not null,
  status      varchar(8)   not null,
  unique (course_code, id),
  foreign key (course_code) references courses (code),
  check (seats_left >= 0 and seats_left <= capacity),
  check (status in ('open', 'closed'))
) /*! collate utf8mb4_bin */;

create table if not exists meetings (
  section_id    varchar(32) not null,
  weekday       integer     not null,
  starts_minute integer     not null,
  ends_minute   integer     not null,
  primary key (section_id, weekday, starts_minute, ends_minute),
  foreign key (section_id) references sections (id)
) /*! collate utf8mb4_bin */;

create table if not exists students (
  id         varchar(255) not null primary key, -- the principal of the run
  email      varchar(320) not null,
  seats_held integer      not null
) /*! collate utf8mb4_bin */;

create table if not exists completed_courses (
  student_id  varchar(255) not null,
  course_code varchar(32)  not null,
  primary key (student_id, course_code),
  foreign key (student_id) references students (id)
) /*! collate utf8mb4_bin */;

create table if not exists enrolments (
  student_id  varchar(255) not null,
  section_id  varchar(32)  not null,
  course_code varchar(32)  not null,
  price_cents integer      not null,
  welcomed    integer      not null, -- 1 if the welcome is in the outbox
  primary key (student_id, section_id),
  unique (student_id, course_code),
  foreign key (student_id) references students (id),
  foreign key (section_id) references sections (id)
) /*! collate utf8mb4_bin */;
