-- The statements of the tools by name; `:name` is a parameter. A tool that writes locks the
-- student's row first, then the section's: no deadlock between students, and the calls for one
-- student run one after the other.

-- find_courses: no row means no match; an unused word is ':', which matches nothing
select found.code, found.title, found.topic, found.hits, offers.sections, offers.seats_left,
       offers.price_cents, offers.starts_on
  from (select c.code, c.title, d.name as topic, instr(c.search_text, :first) as place,
               (c.search_text like :word0) + (c.search_text like :word1)
               + (c.search_text like :word2) + (c.search_text like :word3) as hits
          from courses c
          join departments d on d.code = c.department
         where :topic = '' or lower(d.code) = :topic or lower(d.name) like :topic_like) found
  join (select course_code, count(*) as sections, min(price_cents) as price_cents,
               min(starts_on) as starts_on,
               sum(case when status = 'open' then seats_left else 0 end) as seats_left
          from sections group by course_code) offers on offers.course_code = found.code
 where (:words = 0 or found.hits > 0) and offers.price_cents <= :highest_cents
 order by found.hits desc, case when offers.seats_left > 0 then 0 else 1 end, found.place,
          offers.price_cents, found.code
 limit 10

-- topics: no row means an empty catalogue
select code, name from departments order by name

-- course: no row means no course with this code and no section with this id
select c.code, c.department, c.title, c.description, c.prerequisite_note, c.credit_hundredths,
       d.name as topic
  from courses c
  join departments d on d.code = c.department
 where c.code = :code or c.code = (select course_code from sections where id = :code)

-- sections: the sections of a course, or the one with this id; no row means neither exists
select s.id, s.course_code, s.title, c.department, s.term, s.starts_on, s.ends_on, s.price_cents,
       s.capacity, s.seats_left, s.status
  from sections s
  join courses c on c.code = s.course_code
 where s.course_code = :code or s.id = :code
 order by s.starts_on, s.id

-- meetings: of the same sections; a section without a row has no fixed time
select m.section_id, m.weekday, m.starts_minute, m.ends_minute
  from meetings m
  join sections s on s.id = m.section_id
 where s.course_code = :code or s.id = :code
 order by m.section_id, m.weekday, m.starts_minute

-- prerequisites: of a course, with the student's state of each; no row means none
select p.needs_code as code, done.course_code as completed, s.ends_on as enrolled_until
  from prerequisites p
  left join completed_courses done on done.student_id = :student and done.course_code = p.needs_code
  left join enrolments e on e.student_id = :student and e.course_code = p.needs_code
  left join sections s on s.id = e.section_id
 where p.course_code = :code
 order by p.needs_code

-- clash: an enrolled course with a meeting at the same time; no row means no conflict
select e.course_code, mine.weekday, mine.starts_minute, mine.ends_minute
  from sections wanted
  join meetings theirs on theirs.section_id = wanted.id
  join enrolments e on e.student_id = :student
  join sections s on s.id = e.section_id
   and s.starts_on <= wanted.ends_on and wanted.starts_on <= s.ends_on
  join meetings mine on mine.section_id = s.id and mine.weekday = theirs.weekday
   and mine.starts_minute < theirs.ends_minute and theirs.starts_minute < mine.ends_minute
 where wanted.id = :section
 order by mine.weekday, mine.starts_minute
 limit 1

-- alternatives: sections that the student can take now, the nearest first; no row means none
select s.id, s.course_code, s.title, s.starts_on, s.ends_on, s.price_cents, s.capacity,
       s.seats_left, s.status
  from sections s
  join courses c on c.code = s.course_code
 where (s.course_code = :code or c.department = :department)
   and s.status = 'open' and s.seats_left > 0
   and not exists (select 1 from enrolments e
                    where e.student_id = :student and e.course_code = s.course_code)
   and not exists (select 1 from completed_courses done
                    where done.student_id = :student and done.course_code = s.course_code)
   and not exists (
     select 1 from prerequisites p
      where p.course_code = s.course_code
        and not exists (select 1 from completed_courses done
                         where done.student_id = :student and done.course_code = p.needs_code)
        and not exists (select 1 from enrolments e join sections before_it on before_it.id = e.section_id
                         where e.student_id = :student and e.course_code = p.needs_code
                           and before_it.ends_on < s.starts_on))
   and not exists (
     select 1 from meetings theirs
       join enrolments e on e.student_id = :student
       join sections taken on taken.id = e.section_id
        and taken.starts_on <= s.ends_on and s.starts_on <= taken.ends_on
       join meetings mine on mine.section_id = taken.id and mine.weekday = theirs.weekday
        and mine.starts_minute < theirs.ends_minute and theirs.starts_minute < mine.ends_minute
      where theirs.section_id = s.id)
 order by case when s.course_code = :code then 0 else 1 end,
          case when s.term = :term then 0 else 1 end, abs(s.price_cents - :price_cents), s.id
 limit 5

-- lock_student: the first statement of a write; 0 rows means a new student
update students set seats_held = seats_held + :change where id = :student

-- insert_student: with one seat; a duplicate means that a concurrent call inserted the student
insert into students (id, email, seats_held) values (:student, :email, 1)

-- take_seat: takes one seat if any is left; 0 rows means full or closed
update sections set seats_left = seats_left - 1
 where id = :section and status = 'open' and seats_left > 0

-- give_seat_back: after an enrolment was removed in the same transaction
update sections set seats_left = seats_left + 1 where id = :section

-- insert_enrolment: a duplicate means that the student is already enrolled
insert into enrolments (student_id, section_id, course_code, price_cents, welcomed)
values (:student, :section, :code, :price_cents, 0)

-- delete_enrolment: 0 rows means that it was already deleted
delete from enrolments where student_id = :student and section_id = :section

-- enrolment: by course code or section id; no row means not enrolled
select e.section_id, e.course_code, s.title, s.starts_on, s.ends_on, st.email
  from enrolments e
  join students st on st.id = e.student_id
  join sections s on s.id = e.section_id
 where e.student_id = :student and (e.course_code = :code or e.section_id = :code)

-- enrolments: no row means no enrolments
select e.section_id, e.course_code, s.title, e.price_cents, s.starts_on, s.ends_on
  from enrolments e
  join sections s on s.id = e.section_id
 where e.student_id = :student
 order by s.starts_on, e.section_id

-- enrolled_meetings: the meetings of all enrolments of a student
select m.section_id, m.weekday, m.starts_minute, m.ends_minute
  from enrolments e
  join meetings m on m.section_id = e.section_id
 where e.student_id = :student
 order by m.section_id, m.weekday, m.starts_minute

-- mark_welcomed: 0 rows means that the welcome was already sent
update enrolments set welcomed = 1
 where student_id = :student and section_id = :section and welcomed = 0

-- changed_enrolments: the enrolments of a student
select student_id, section_id, price_cents, welcomed from enrolments
 where student_id = :student order by section_id

-- changed_sections: the seats of a student's sections
select s.id, s.capacity, s.seats_left from sections s
  join enrolments e on e.section_id = s.id and e.student_id = :student order by s.id

-- changed_outbox: the outbox messages of a thread
select id, kind, body from outbox where thread_id = :thread order by due_at, id
